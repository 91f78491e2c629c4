"""What `tools.compare` reads from revisions, and how the command behaves."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from stages.common.errors import UserError
from tests.support import runner
from tests.support.run_files import RIGHT, commit, experiment, git, write_run
from tools.compare.__main__ import load, main
from tools.compare.groups import Group, Run
from tools.compare.seeds_file import SEEDS, Seeds, encode

in_repository = pytest.mark.usefixtures("repository")


def compare(*arguments: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["compare", *arguments])
        main()


@in_repository
def test_an_experiment_goes_by_its_name() -> None:
    write_run(Path(), 0.01, 0, RIGHT)
    experiment("proud-fox", git("rev-parse", "HEAD"), commit())
    assert load("proud-fox").params["train.lr"] == 0.01


@in_repository
def test_the_workspace_and_the_commit_hold_the_same() -> None:
    committed, present = load("main"), load("workspace")
    assert committed.predictions.equals(present.predictions)
    assert committed.predictions.values.tolist()[9] == [9, 3, 8, 0.9]
    for name in ("params", "metrics", "digests", "code", "requirements", "stale"):
        assert getattr(committed, name) == getattr(present, name)
    assert present.params["train.lr"] == 0.001
    assert present.metrics == {"per_digit.3": 0.9, "test.accuracy": 0.9, "test.loss": 5}
    assert present.requirements == {"scipy": "==1.17.1", "torch": ">=2.13,<2.14"}
    assert present.stale == []


@in_repository
def test_all_that_is_missing_is_named_at_once() -> None:
    git("rm", "--quiet", "-r", "metrics", "dvc.lock")
    commit()
    files = r"dvc\.lock, metrics/metrics\.json, metrics/predictions\.csv, metrics/epochs\.csv"
    with pytest.raises(UserError, match=rf"^main \(\w+\) lacks {files}; make"):
        compare("main")


@in_repository
@pytest.mark.parametrize(
    ("path", "content", "reason"),
    [
        ("dvc.lock", b"<<<<<<< HEAD\n", "dictionary"),
        ("dvc.lock", b"stages: {train: {cmd: [}}", "while parsing"),
        ("dvc.lock", b"stages: {train: {deps: []}}", "stages.train.cmd Field required"),
        ("dvc.lock", b"", "dictionary"),
        ("params.yaml", b"- 1\n", "dictionary"),
        ("metrics/metrics.json", b"{", "JSON"),
        ("metrics/metrics.json", b'{"test": {"accuracy": NaN}}', "finite"),
        ("metrics/metrics.json", b'{"test": {"loss": 1}}', "it has no test.accuracy"),
        ("metrics/predictions.csv", b"", "No columns"),
        ("metrics/predictions.csv", b"\xff", "decode"),
        ("metrics/predictions.csv", b"index,label,predicted,confidence\n", "no rows"),
        ("metrics/predictions.csv", b"index,label,predicted,confidence\n0,1,x,1\n", "invalid"),
        ("metrics/predictions.csv", b"index,label,predicted,confidence\n0,1\n", "NA values"),
        ("metrics/predictions.csv", b"index,label,predicted,confidence\n1,1,1,1\n", "indices"),
        ("metrics/predictions.csv", b"index,label,predicted,confidence\n0,1,10,1\n", "from 0 to 9"),
    ],
)
def test_a_damaged_file_is_named_with_the_reason(
    path: str,
    content: bytes,
    reason: str,
) -> None:
    Path(path).write_bytes(content)
    with pytest.raises(UserError) as error:
        compare("main")
    assert str(error.value).startswith(f"workspace: {path}: not as expected (")
    assert reason in str(error.value)
    assert str(error.value).endswith("; make it with `dvc repro`") == (path != "params.yaml")
    assert "\n" not in str(error.value)


@in_repository
def test_what_was_changed_after_the_run_is_stale(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("0.001", "0.5"))
    Path("stages/train.py").write_text("print(2)\n")
    compare("main")
    output = capfdbinary.readouterr().out.decode()
    assert (
        "\nNote: in `head` these differ from `dvc.lock`: `stages/train.py`, `train.lr`. The report"
        " is about the last run. Run `dvc repro` to compare what is there now.\n"
    ) in output
    Path("stages/train.py").unlink()
    assert "stages/train.py" in load("workspace").stale
    metrics = Path("metrics/metrics.json")
    metrics.write_text(metrics.read_text().replace("0.9", "0.95"))
    assert "metrics/metrics.json" in load("workspace").stale


@in_repository
def test_a_regression_fails_where_it_is_asked_to(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    write_run(Path(), 0.001, 0, [3] * 2 + [8] * 8)
    compare("main")
    with pytest.raises(SystemExit, match="1"):
        compare("main", "--fail-on-regression")
    printed = capfdbinary.readouterr()
    assert printed.err.startswith(b"--fail-on-regression: This network is worse: 90.00")
    assert printed.out.startswith(b"**This network is worse: 90.00 % \xe2\x86\x92 20.00 %, 0 test")
    compare("workspace", "main", "--fail-on-regression")
    assert b"This network is better" in capfdbinary.readouterr().out
    write_run(Path(), 0.001, 0, [3] * 4 + [8] * 6)
    compare("main", "--fail-on-regression")  # five flips
    assert b"No evidence that these networks" in capfdbinary.readouterr().out


@in_repository
def test_files_that_contradict_each_other_fail_the_command(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    compare("main")
    assert b"\n\nThe files of each revision agree with each other: " in capfdbinary.readouterr().out
    metrics = Path("metrics/metrics.json")
    metrics.write_text(metrics.read_text().replace('"accuracy": 0.9', '"accuracy": 0.9999'))
    with pytest.raises(SystemExit, match="1"):
        compare("main")
    line = (
        "metrics/metrics.json: test.accuracy is 0.9999, but metrics/predictions.csv gives 0.9"
        " (9 of 10)"
    )
    output = capfdbinary.readouterr().out.decode()
    assert output.startswith("**Do not believe what follows: the files of `workspace` contradict")
    assert f"\n- `{line}`\n" in output
    assert "agree with each other" not in output
    with pytest.raises(SystemExit, match="1"):
        compare("main", "--json")
    found = json.loads(capfdbinary.readouterr().out)["contradictions"]
    assert {name.partition(" ")[0]: len(lines) for name, lines in found.items()} == {
        "main": 0,
        "workspace": 2,  # and the last epoch
    }
    assert found["workspace"][0] == line


@in_repository
def test_json_is_the_same_as_data(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    write_run(Path(), 0.01, 0, RIGHT)
    compare("main", "--json")
    content: dict[str, Any] = json.loads(capfdbinary.readouterr().out)
    assert content["base"] == {"name": "main", "commit": git("rev-parse", "main")}
    assert content["head"] == {"name": "workspace", "commit": None}
    assert content["verdict"] == "no evidence"
    assert content["sentence"].startswith(
        "No evidence that these networks differ: 90.00 % → 100.00 %, 1 test"
    )
    assert content["params"] == {"train.lr": {"base": 0.001, "head": 0.01}}
    assert (content["overall"]["fixed"], content["overall"]["p"]) == (1, 1)
    data = {"path": "data/MNIST/raw", "base": "d0.dir", "head": "d0.dir"}
    assert content["data"] == data
    assert content["shrank"] == [{"label": 3, "predicted": 8, "base": 1, "head": 0}]
    assert list(content["digits"]) == ["3"]


@in_repository
def test_seeds_are_lists_of_revisions(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    for lr in (0.01, 0.1):
        for seed in (1, 2):
            write_run(Path(), lr, seed, [3] * 8 + [3 if lr < 0.1 else 7, seed])
            commit()
            git("tag", f"lr{lr}-{seed}")
    compare("--seeds", "lr0.01-1,lr0.01-2", "lr0.1-1,lr0.1-2", "--json")
    content = json.loads(capfdbinary.readouterr().out)
    assert content["verdict"] == "worse"
    assert content["params"] == {"train.lr": {"base": 0.01, "head": 0.1}}
    assert content["metrics"]["test.accuracy"]["head"] == {"n": 2, "mean": 0.8, "deviation": 0}
    assert [run["seed"] for run in content["base"]["runs"]] == [1, 2]
    with pytest.raises(UserError, match=r"^--seeds: BASE names one run"):
        compare("--seeds", "lr0.01-1")
    with pytest.raises(SystemExit, match="2"):
        compare("--seeds", "main,main", "main,main", "--images", "pictures")


def write_seeds(base: list[float], head: list[float]) -> None:
    """The file about main and the workspace, with these accuracies."""
    groups = [
        Group(
            load(name).recipe,
            [Run(seed, {"test.accuracy": value}, None) for seed, value in enumerate(side)],
        )
        for name, side in (("main", base), ("workspace", head))
    ]
    Path(SEEDS).parent.mkdir(exist_ok=True)
    Path(SEEDS).write_bytes(encode(Seeds(10, *groups)))


@in_repository
def test_where_several_seeds_were_run_a_regression_is_one_of_the_recipe(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    write_run(Path(), 0.01, 0, [3] * 2 + [8] * 8)
    write_seeds([0.5, 0.6, 0.7], [0.61, 0.70, 0.80])
    compare("main", "--fail-on-regression")
    printed = capfdbinary.readouterr()
    assert printed.out.startswith(b"**This recipe is better: ")
    assert b"\n\n**This network is worse: " in printed.out
    assert printed.err.startswith(b"--fail-on-regression: This recipe is better: mean")
    write_seeds([0.61, 0.70, 0.80], [0.5, 0.6, 0.7])
    commit()
    with pytest.raises(SystemExit, match="1"):
        compare("main~1", "main", "--fail-on-regression")
    assert capfdbinary.readouterr().err.startswith(b"--fail-on-regression: This recipe is worse")


@in_repository
def test_the_json_has_the_recipes(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    write_run(Path(), 0.01, 0, RIGHT)
    compare("main", "--json")
    recipes = json.loads(capfdbinary.readouterr().out)["recipes"]
    assert recipes == {"same": False, "seeds": None, "unfit": {}}
    write_seeds([0.5, 0.6, 0.7], [0.61, 0.70, 0.80])
    compare("main", "--json")
    recipes = json.loads(capfdbinary.readouterr().out)["recipes"]
    assert recipes["seeds"]["verdict"] == "better"
    assert recipes["seeds"]["sentence"].startswith("This recipe is better: mean accuracy 60.00")
    assert recipes["seeds"]["params"] == {"train.lr": {"base": 0.001, "head": 0.01}}


@in_repository
def test_a_damaged_file_of_seeds_is_named() -> None:
    Path(SEEDS).parent.mkdir()
    Path(SEEDS).write_text('{"n": 10}')
    with pytest.raises(UserError) as error:
        compare("main")
    assert str(error.value).startswith("workspace: evidence/seeds.json: not as expected (")
    assert str(error.value).endswith("; make it again with `make seeds`, or remove it")


@in_repository
def test_an_error_is_one_line_and_the_exit_status_is_one() -> None:
    process = runner.python("-m", "tools.compare", "nothing", folder=Path())
    assert process.returncode == 1
    assert process.stderr.startswith("'nothing' is neither")
    assert process.stderr.count("\n") == 1


def test_only_pictures_need_matplotlib_and_nothing_needs_torch_or_dvc() -> None:
    code = (
        "import sys, tools.compare.__main__; print({'matplotlib', 'torch', 'dvc'} & {*sys.modules})"
    )
    assert runner.python("-c", code).stdout == "set()\n"


@in_repository
def test_each_side_is_read_where_its_own_dvc_yaml_says(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    git("rm", "--quiet", "-r", "metrics")
    write_run(Path(), 0.01, 0, RIGHT, metrics="scores")
    compare("main")
    output = capfdbinary.readouterr().out.decode()
    assert "90.00 % → 100.00 %" in output
    assert "Note" not in output
