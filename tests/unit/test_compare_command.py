"""What the command tools.compare reads from revisions, and how it ends."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from stages.common.errors import UserError
from tests.support import runner
from tests.support.run_files import RIGHT, commit, git, write_run
from tools.compare.__main__ import load, main
from tools.compare.recipes import SEEDS, RecipeRuns, SeedRun, Seeds, encode
from tools.dvc_files import md5
from tools.yaml_files import parse_yaml

in_repository = pytest.mark.usefixtures("repository")
Captured = pytest.CaptureFixture[bytes]


def compare(*arguments: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["compare", *arguments])
        main()


def printed(captured: Captured, *arguments: str) -> str:
    compare(*arguments)
    return captured.readouterr().out.decode()


def as_json(captured: Captured, *arguments: str) -> Any:  # noqa: ANN401
    return json.loads(printed(captured, *arguments, "--json"))


@in_repository
def test_the_workspace_and_the_commit_hold_the_same() -> None:
    committed, present = load("main"), load("workspace")
    assert committed.predictions.values.tolist()[9] == [9, 3, 8, 0.9]
    for name in ("params", "digests", "code", "stale"):
        assert getattr(committed, name) == getattr(present, name)
    assert committed.metrics == present.metrics
    assert present.metrics == {"per_digit.3": 0.9, "test.accuracy": 0.9, "test.loss": 5}
    assert present.requirements == {"scipy": "==1.17.1", "torch": ">=2.13,<2.14"}
    assert present.stale == []
    assert present.cost == "epochs 2, steps an epoch 3, images a step 4, weights 1.2 kB"


@in_repository
@pytest.mark.parametrize(
    ("path", "content", "remedy"),
    [
        ("dvc.lock", b"stages: [\n", "make it with `dvc repro`"),
        ("dvc.yaml", b"stages: {train: {outs: [x]}}\n", "no stage writes this file"),
        ("metrics/metrics.json", b'{"test": {"accuracy": NaN}}', "make it with `dvc repro`"),
        (SEEDS, b'{"n": 10}', "make it again with `make seeds`, or remove it"),
    ],
)
def test_a_damaged_file_is_named_with_what_to_do(path: str, content: bytes, remedy: str) -> None:
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_bytes(content)
    with pytest.raises(UserError) as error:
        compare("main")
    assert str(error.value).startswith(f"workspace: {path}: not as expected (")
    assert f"); {remedy}" in str(error.value)
    assert "\n" not in str(error.value)


@in_repository
def test_what_was_changed_after_the_run_is_stale(capfdbinary: Captured) -> None:
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("0.001", "0.5"))
    Path("stages/train.py").write_text("print(2)\n")
    assert (
        "\nNote: in `head` these differ from `dvc.lock`: `stages/train.py`, `train.lr`. The report"
    ) in printed(capfdbinary, "main")
    Path("stages/train.py").unlink()
    Path("params.yaml").unlink()
    assert load("workspace").stale[::2] == ["stages/train.py", "train.lr", "train.epochs"]


@in_repository
def test_params_and_metrics_are_read_from_all_files_that_the_pipeline_names(
    capfdbinary: Captured,
) -> None:
    """The seed, in a file of its own, is the same seed; another of that name has its file's."""
    for name in ("params.yaml", "dvc.lock"):
        text = Path(name).read_text()
        Path(name).write_text(re.sub(r"\n +seed: 0", "", text))
    Path("other.toml").write_text("train = {seed = 0, lr = 7}\n")
    calibration = b'{"test": {"loss": 1, "ece": 0.25}}'
    Path("calibration.json").write_bytes(calibration)
    lock = parse_yaml(Path("dvc.lock").read_bytes())
    train = lock["stages"]["train"]
    train["params"]["other.toml"] = {"train.seed": 0, "train.lr": 7}
    train["cmd"] = ["python -m stages.train", "echo"]
    train["outs"] += [{"path": "calibration.json", "md5": md5(calibration)}]
    Path("dvc.lock").write_text(json.dumps(lock))
    pipeline = parse_yaml(Path("dvc.yaml").read_bytes())
    metrics = [{"calibration.json": {"cache": False}}]
    pipeline["stages"]["calibrate"] = {"cmd": ["a", "b"], "metrics": metrics}
    Path("dvc.yaml").write_text(json.dumps(pipeline))
    found = as_json(capfdbinary, "main")
    assert found["params"] == {"other.toml:train.lr": {"base": None, "head": 7}}
    assert found["metrics"]["calibration.json: test.ece"] == {"base": None, "head": 0.25}
    assert found["metrics"]["test.loss"] == {"base": 5, "head": 5}
    assert found["stale"]["head"] == []
    assert found["recipes"]["same"] is False
    Path("other.toml").write_text("train = {seed = 1, lr = 7}\n")
    assert load("workspace").stale == ["train.seed"]
    Path("calibration.json").unlink()
    with pytest.raises(UserError, match=r"^workspace lacks calibration\.json; make it"):
        compare("main")


@in_repository
def test_a_merge_commit_names_what_it_merges(capfdbinary: Captured) -> None:
    git("switch", "--quiet", "--create", "other")
    Path("note").write_text("1")
    other = commit()
    git("switch", "--quiet", "main")
    Path("second").write_text("2")
    main = commit()
    git("merge", "--quiet", "--no-edit", "other")
    merges = f"\n- Head merges `{main[:7]}` and `{other[:7]}`. Base is "
    assert f"{merges}parent 1, so this is what the rest" in printed(capfdbinary, main, "main")
    assert f"{merges}parent 2, so this is what the rest" in printed(capfdbinary, "other", "main")
    assert f"{merges}none of them." in printed(capfdbinary, "main~2", "main")
    assert "Head merges" not in printed(capfdbinary, "main", "other")


@in_repository
def test_a_regression_fails_where_it_is_asked_to(capfdbinary: Captured) -> None:
    write_run(Path(), 0.001, 0, [3] * 2 + [8] * 8)
    assert printed(capfdbinary, "main").startswith("**This network is worse: 90.00 % → 20.00 %")
    with pytest.raises(SystemExit, match="1"):
        compare("main", "--fail-on-regression")
    compare("workspace", "main", "--fail-on-regression")
    write_run(Path(), 0.001, 0, [3] * 4 + [8] * 6)  # five flips: no evidence
    compare("main", "--fail-on-regression")


def write_seeds(base: list[float], head: list[float]) -> None:
    """The file of seeds, with these accuracies of `main` and of the workspace."""
    sides, images = [], {"test.accuracy": 10, "per_digit.3": 10}
    for name, accuracies in (("main", base), ("workspace", head)):
        runs = [
            SeedRun(seed, dict.fromkeys(images, accuracy), f"{name}{seed}")
            for seed, accuracy in enumerate(accuracies)
        ]
        sides.append(RecipeRuns(load(name).recipe, runs))
    Path(SEEDS).parent.mkdir(exist_ok=True)
    Path(SEEDS).write_bytes(encode(Seeds(images, *sides)))


@in_repository
def test_where_several_seeds_were_run_the_recipe_is_judged(capfdbinary: Captured) -> None:
    write_run(Path(), 0.001, 42, RIGHT)
    commit()
    write_run(Path(), 0.01, 42, [3] * 2 + [8] * 8)
    write_seeds([0.4, 0.5, 0.6, 0.6], [0.5, 0.6, 0.7, 0.8])
    seeds = as_json(capfdbinary, "main", "--fail-on-regression")["recipes"]["seeds"]
    assert seeds["verdict"] == "better"
    recipe, network, *_ = printed(capfdbinary, "main").split("\n\n")
    assert recipe == f"**{seeds['sentence']}**"
    assert network.startswith("**This network is worse")
    asked = as_json(capfdbinary, "main", "--margin", "1", "--fail-on-regression")
    assert asked["recipes"]["seeds"]["not_worse"]["holds"]

    git("add", ":!evidence")
    git("commit", "--quiet", "--message=as an experiment, without the file")
    git("switch", "--quiet", "--detach", "HEAD~")
    assert printed(capfdbinary, "HEAD", "main").startswith(recipe)


@in_repository
def test_a_run_of_the_file_of_seeds_that_is_committed_too_must_be_the_same(
    capfdbinary: Captured,
) -> None:
    """The committed run has seed 0 on both sides."""
    write_run(Path(), 0.01, 0, [3] * 2 + [8] * 8)
    write_seeds([0.9, 0.5, 0.6], [0.3, 0.2, 0.1])
    with pytest.raises(SystemExit, match="1"):
        compare("main", "--json")
    main_, workspace = json.loads(capfdbinary.readouterr().out)["contradictions"].values()
    assert main_ == []
    start = f"{SEEDS}: head, train.seed 0: test.accuracy: committed 0.3, workspace 0.2"
    assert start in workspace
    assert any(line.startswith(f"{SEEDS}: base, train.seed 0: MD5 of p") for line in workspace)
    assert not any("base, train.seed 0: test.accuracy" in line for line in workspace)


@in_repository
def test_files_that_contradict_each_other_fail_the_command(capfdbinary: Captured) -> None:
    metrics = Path("metrics/metrics.json")
    metrics.write_text(metrics.read_text().replace('"accuracy": 0.9', '"accuracy": 0.9999'))
    with pytest.raises(SystemExit, match="1"):
        compare("main")
    output = capfdbinary.readouterr().out.decode()
    with pytest.raises(SystemExit, match="1"):
        compare("main", "--json")
    found = json.loads(capfdbinary.readouterr().out)["contradictions"]
    committed, workspace = found.values()
    assert committed == []
    recorded, first, second = workspace  # in dvc.lock, of the predictions, and of the last epoch
    assert recorded == "metrics/metrics.json: not the file that dvc.lock records as the result"
    assert output.startswith("**Do not believe what follows: the files of `workspace` contradict")
    assert f"\n\n- `{recorded}`\n- `{first}`\n- `{second}`\n\n**Same" in output


@in_repository
def test_seeds_are_lists_of_revisions(capfdbinary: Captured) -> None:
    for lr in (0.01, 0.1):
        for seed in (1, 2, 4):
            write_run(Path(), lr, seed, [3] * 6 + [3 if lr < 0.1 else 7] * 3 + [seed])
            commit()
            git("tag", f"lr{lr}-{seed}")
    sides = [",".join(f"lr{lr}-{seed}" for seed in (1, 2, 4)) for lr in (0.01, 0.1)]
    content = as_json(capfdbinary, "--seeds", *sides)
    assert content["verdict"] == "worse"
    assert content["metrics"]["test.accuracy"]["head"] == {"n": 3, "mean": 0.6, "deviation": 0}
    assert content["images"] == {"test.accuracy": 10, "per_digit.3": 10}
    assert [run["seed"] for run in content["base"]["runs"]] == [1, 2, 4]
    assert len(content["contradictions"]) == len(content["stale"]) == 6
    with pytest.raises(SystemExit, match="1"):
        compare("--seeds", *sides, "--fail-on-regression")
    compare("--seeds", *sides, "--fail-on-regression", "--margin", "50")  # of so much less is lost
    assert "Its loss is less than 50 points" in capfdbinary.readouterr().err.decode()
    with pytest.raises(SystemExit, match="1"):
        compare("--seeds", sides[0], sides[0], "--fail-on-regression", "--margin", "1")
    assert "Not shown that its loss is less than 1 points" in capfdbinary.readouterr().err.decode()
    with pytest.raises(SystemExit, match="2"):
        compare("--seeds", "main,main", "main,main", "--images", "pictures")


@in_repository
def test_each_side_is_read_where_its_own_dvc_yaml_says(capfdbinary: Captured) -> None:
    git("rm", "--quiet", "-r", "metrics")
    write_run(Path(), 0.01, 0, RIGHT, metrics="scores")
    output = printed(capfdbinary, "main")
    assert "90.00 % → 100.00 %" in output
    assert "Note" not in output


def test_only_pictures_need_matplotlib_and_nothing_needs_torch_or_dvc() -> None:
    code = (
        "import sys, tools.compare.__main__; print({'matplotlib', 'torch', 'dvc'} & {*sys.modules})"
    )
    assert runner.python("-c", code).stdout == "set()\n"


@in_repository
@pytest.mark.parametrize("margin", ["0", "-1", "nan", "inf", "much"])
def test_a_margin_is_more_than_nothing(margin: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        compare("main", "--margin", margin)


@in_repository
def test_a_margin_takes_several_seeds() -> None:
    with pytest.raises(UserError, match=r"^--margin: asks about recipes, which takes several runs"):
        compare("main", "--margin", "1")
