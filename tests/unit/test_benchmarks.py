import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from benchmarks import fresh, recipes, speed, steps, summary
from benchmarks.processes import Run
from stages.common import params
from stages.common.errors import UserError
from stages.model.network import Network, NetworkConfig
from tests.support.runner import ROOT, STAGES, digests, python
from tools.validate import GROUPS

DEFAULT = params.load(ROOT / "params.yaml", "model", NetworkConfig)


def test_a_recipe_changes_its_keys_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "params.yaml"
    source = ROOT / "params.yaml"
    recipes.apply({"train.batch_size": 100, "train.augment.shear": 10}, source, target)
    yaml = YAML(typ="safe")
    expected = yaml.load(source)
    expected["train"]["batch_size"] = 100
    expected["train"]["augment"]["shear"] = 10
    assert yaml.load(target) == expected


def keys(group: dict[str, object], prefix: str = "") -> set[str]:
    """The dotted names of all values in a group of params.yaml."""
    names: set[str] = set()
    for name, value in group.items():
        names |= keys(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name}
    return names


@pytest.mark.parametrize("recipe", recipes.read())
def test_a_recipe_has_keys_of_params_yaml_with_allowed_values(recipe: str, tmp_path: Path) -> None:
    overrides = recipes.read()[recipe]
    known = keys(YAML(typ="safe").load(ROOT / "params.yaml"))
    assert set(overrides) <= known
    recipes.apply(overrides, ROOT / "params.yaml", tmp_path / "params.yaml")
    for group, model in GROUPS.items():
        params.load(tmp_path / "params.yaml", group, model)


def test_the_recipes_are_the_default_and_the_files() -> None:
    assert list(recipes.read()) == ["default", "sprint", "tuned"]
    assert recipes.read()["sprint"]["train.nesterov"] == "true"


def test_comments_and_blank_lines_are_no_part_of_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "slow").write_text("# train.lr=1\n\ntrain.lr=5e-4\ntrain.augment.shear=10\n")
    assert recipes.parse(tmp_path / "slow") == {"train.lr": "5e-4", "train.augment.shear": "10"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train.lr", "line 2: must be key=value, without spaces: 'train.lr'"),
        ("train.lr = 1", "line 2: must be key=value"),
        ("-S train.lr=1", "line 2: must be key=value"),
        ("train.lr=$(date)", "line 2: must be key=value"),
        ("train.lr=*", "line 2: must be key=value"),
        ("train.epochs=3", "line 2: train.epochs is there twice; keep one"),
    ],
)
def test_a_wrong_line_in_a_recipe_is_named(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "slow").write_text(f"train.epochs=20\n{line}\n")
    with pytest.raises(UserError, match=re.escape(f"{tmp_path / 'slow'}: {message}")):
        recipes.parse(tmp_path / "slow")


def run(start: float, ends: list[float]) -> Run:
    return Run("", start, ends[-1], 0, 0, ends)


def test_a_goal_is_met_at_its_bound_and_not_beyond() -> None:
    table = summary.goals(
        [
            summary.Goal("fast", [1, 2, 3], "s", "most", 2),
            summary.Goal("faster", [1, 2.1, 3], "s", "most", 2),
            summary.Goal("small", [700, 710], "MB", "least", 705),
            summary.Goal("smaller", [700, 708], "MB", "least", 705),
        ]
    )
    assert (
        table
        == """\
| Goal    | Median | Least - greatest |          Wanted | Met |
| ------- | -----: | ---------------: | --------------: | --: |
| fast    | 2.00 s |      1.00 - 3.00 |     at most 2 s | yes |
| faster  | 2.10 s |      1.00 - 3.00 |     at most 2 s |  no |
| small   | 705 MB |        700 - 710 | at least 705 MB | yes |
| smaller | 704 MB |        700 - 708 | at least 705 MB |  no |"""
    )


def test_a_curve_has_the_median_time_of_each_epoch() -> None:
    runs = [run(0, [2, 4]), run(0, [3, 9]), run(0, [4, 5])]
    assert speed.curve(runs, [0.98, 0.99]) == [(3, 0.98), (5, 0.99)]
    assert speed.time_to(0.99, [(3, 0.98), (5, 0.99)]) == "5.0 s"
    assert speed.time_to(0.991, [(3, 0.98), (5, 0.99)]) == "-"


def test_training_counts_the_first_epoch_like_the_others_and_ratios_stay_in_a_repeat() -> None:
    fast, slow = [run(0, [9, 10]), run(0, [9, 11])], [run(0, [9, 13]), run(0, [9, 17])]
    assert speed.ratios({"a": slow, "b": fast}, Run.training, "a", "b") == [4, 4]


def test_the_part_of_dvc_is_what_the_stages_do_not_explain() -> None:
    seconds = {
        fresh.INSTALL: [50, 30],
        "download": [1, 3],
        "train": [20, 20],
        fresh.REPRO: [23, 27],
    }
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in fresh.parts(seconds).splitlines()
    ]
    assert rows[2:] == [
        ["make install", "40.00 s", "30.00 - 50.00", "62 %"],
        ["download", "2.00 s", "1.00 - 3.00", "3 %"],
        ["train", "20.00 s", "20.00 - 20.00", "31 %"],
        ["DVC itself", "3.00 s", "2.00 - 4.00", "5 %"],  # 23 - 21 and 27 - 23
        ["all", "65.00 s", "57.00 - 73.00", "100 %"],
    ]


def test_multiply_adds_of_the_default_network() -> None:
    assert steps.multiply_adds(Network(DEFAULT)) == (480_500, 817_000)


def test_a_stopwatch_adds_up_calls_by_name() -> None:
    watch = steps.Stopwatch()
    square = watch.around("square", lambda x: x * x)
    assert [square(2), square(x=3)] == [4, 9]
    lap = watch.lap()
    assert list(lap) == ["square"]
    assert lap["square"] > 0
    assert watch.lap() == {}


def test_training_without_progress_keeps_none_and_gives_the_same_weights(
    trained: Path, workspace: Path
) -> None:
    _python, _m, _module, *arguments = STAGES["train"]["cmd"].split()
    process = python("-m", "benchmarks.without_progress", *arguments, folder=workspace)
    assert process.returncode == 0, process.stderr
    assert digests(workspace / "models") == digests(trained / "models")
    assert not (workspace / ".progress").exists()
