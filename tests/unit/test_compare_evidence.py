"""Revisions of a repository that holds nothing but a run's files."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.common.errors import UserError
from tests.support import runner
from tools.compare import evidence
from tools.compare.__main__ import main

RIGHT = [3] * 10  # the labels, too
EXPERIMENT = "refs/exps/{baseline:.2}/{rest}/{name}"

Git = Callable[..., str]


def write_run(folder: Path, lr: float, seed: int, predicted: list[int]) -> None:
    """What `dvc repro` would leave."""
    rows = [f"{index},3,{digit},0.9" for index, digit in enumerate(predicted)]
    accuracy = predicted.count(3) / len(predicted)
    params = {"train": {"lr": lr, "seed": seed}}
    files = {
        "metrics/predictions.csv": "index,label,predicted,confidence\n" + "\n".join(rows) + "\n",
        "metrics/metrics.json": json.dumps({"test": {"accuracy": accuracy, "loss": 1 - accuracy}}),
        "requirements.txt": "# all\nscipy==1.17.1  # exact\ntorch>=2.13,<2.14\n",
        "stages/train.py": "print(1)\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    digests = {name: evidence.md5(text.encode()) for name, text in files.items()}
    entries = [{"path": name, "hash": "md5", "md5": digests[name]} for name in files]
    yaml = YAML()
    yaml.dump(params, folder / "params.yaml")
    stage = {
        "cmd": "python -m stages.train",
        "deps": [entries[3]],
        "params": {"params.yaml": params},
        "outs": [{"path": "data/MNIST/raw", "md5": "d0.dir"}, *entries[:2]],
    }
    yaml.dump({"schema": "2.0", "stages": {"train": stage}}, folder / "dvc.lock")


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    """A repository, on its branch main a run with one mistake. Call it to run git there."""
    monkeypatch.chdir(tmp_path)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Tester")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "tester@example.com")

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    git("init", "--quiet", "--initial-branch=main")
    write_run(tmp_path, 0.001, 0, [3] * 9 + [8])
    commit(git)
    return git


def commit(git: Git) -> str:
    """Commit all files; the commit."""
    git("add", "--all")
    git("commit", "--quiet", "--message=run")
    return git("rev-parse", "HEAD")


def experiment(git: Git, name: str, baseline: str, result: str) -> None:
    """Keep a commit as DVC keeps an experiment."""
    git("update-ref", EXPERIMENT.format(baseline=baseline, rest=baseline[2:], name=name), result)


def compare(*arguments: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["compare", *arguments])
        main()


@pytest.mark.parametrize("name", ["main", "HEAD", "v1", "main~0", "{commit}", "{commit:.7}"])
def test_a_revision_may_have_any_name_that_git_knows(git: Git, name: str) -> None:
    commit = git("rev-parse", "HEAD")
    git("tag", "--annotate", "--message=tag", "v1")
    name = name.format(commit=commit)
    found = evidence.resolve(name)
    assert found.commit == commit
    shown = commit[:7] if commit.startswith(name) else f"{name} ({commit[:7]})"
    assert str(found) == shown


def test_an_experiment_is_found_by_its_name(git: Git) -> None:
    baseline = git("rev-parse", "HEAD")
    git("checkout", "--quiet", "--detach")
    write_run(Path(), 0.01, 0, RIGHT)
    result = commit(git)
    git("checkout", "--quiet", "main")
    experiment(git, "proud-fox", baseline, result)
    git("update-ref", "refs/exps/exec/EXEC_HEAD", baseline)  # DVC keeps more than experiments
    assert evidence.load(evidence.resolve("proud-fox")).params["train.lr"] == 0.01
    for name in ("EXEC_HEAD", "proud", "nothing", "", "--all", "HEAD:dvc.lock", "*"):
        with pytest.raises(UserError, match="is neither a git revision nor an experiment; `git"):
            evidence.resolve(name)


def test_of_experiments_with_one_name_the_one_that_started_here_is_meant(git: Git) -> None:
    first = git("rev-parse", "HEAD")
    (Path() / "note").write_text("2")
    second = commit(git)
    experiment(git, "fox", first, first)
    experiment(git, "fox", second, second)
    assert evidence.resolve("fox").commit == second
    (Path() / "note").write_text("3")
    commit(git)
    with pytest.raises(UserError, match=r"^fox: 2 experiments have this name; say ") as error:
        evidence.resolve("fox")
    assert first[:7] in str(error.value)
    assert second[:7] in str(error.value)


def test_outside_of_a_repository_git_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(UserError, match=r"^fatal: not a git repository") as error:
        evidence.resolve("main")
    assert "\n" not in str(error.value)


def test_a_project_may_be_a_folder_of_a_repository(
    git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    write_run(folder, 0.5, 0, RIGHT)
    commit(git)
    monkeypatch.chdir(folder)
    assert evidence.load(evidence.resolve("main")).params["train.lr"] == 0.5


@pytest.mark.usefixtures("git")
def test_the_workspace_and_the_commit_hold_the_same() -> None:
    committed, present = (evidence.load(evidence.resolve(name)) for name in ("main", "workspace"))
    assert committed.predictions.tolist() == present.predictions.tolist()
    assert committed.predictions.tolist()[9] == (9, 3, 8, 0.9)
    for name in ("params", "metrics", "digests", "code", "requirements", "stale"):
        assert getattr(committed, name) == getattr(present, name)
    assert present.params == {"train.lr": 0.001, "train.seed": 0}
    assert present.metrics == {"test.accuracy": 0.9, "test.loss": pytest.approx(0.1)}
    assert present.requirements == {"scipy": "==1.17.1", "torch": ">=2.13,<2.14"}
    assert present.stale == []


@pytest.mark.parametrize("path", ["dvc.lock", "metrics/metrics.json", "metrics/predictions.csv"])
def test_a_revision_without_the_files_is_told_how_to_make_them(git: Git, path: str) -> None:
    Path(path).unlink()
    with pytest.raises(UserError, match=f"^workspace lacks {path}; make it with `dvc repro`$"):
        evidence.load(evidence.resolve("workspace"))
    short = commit(git)[:7]
    with pytest.raises(UserError) as error:
        evidence.load(evidence.resolve("main"))
    assert str(error.value) == (
        f"main ({short}) lacks {path}; make it: `git checkout {short} && dvc repro`, and commit"
        " what came out"
    )


def test_all_that_is_missing_is_named_at_once(git: Git) -> None:
    git("rm", "--quiet", "-r", "metrics", "dvc.lock")
    commit(git)
    files = r"dvc\.lock, metrics/metrics\.json, metrics/predictions\.csv"
    with pytest.raises(UserError, match=rf"^main \(\w+\) lacks {files}; make"):
        compare("main")


@pytest.mark.usefixtures("git")
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
        ("metrics/predictions.csv", b"", "its first line lacks index, label, "),
        ("metrics/predictions.csv", b"\xff", "decode"),
        ("metrics/predictions.csv", b"index,label,predicted,confidence\n", "no rows"),
        ("metrics/predictions.csv", b"index,label,predicted,confidence\n0,1,x,1\n", "convert"),
        ("metrics/predictions.csv", b"index,label,predicted,confidence\n0,1\n", "columns"),
        ("metrics/predictions.csv", b"index,label,predicted,confidence\n1,1,1,1\n", "indices"),
        ("metrics/predictions.csv", b"index,label,predicted,confidence\n0,1,10,1\n", "0 to 9"),
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
    assert str(error.value).endswith("; make it with `dvc repro`")
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("git")
def test_what_was_changed_after_the_run_is_stale(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("0.001", "0.5"))
    Path("stages/train.py").write_text("print(2)\n")
    compare("main")
    output = capfdbinary.readouterr().out.decode()
    assert (
        "\nNote: `head` is not as its `dvc.lock` says (`stages/train.py`, `train.lr`): this"
        " compares the last run; `dvc repro` makes a new one.\n"
    ) in output
    Path("stages/train.py").unlink()
    assert "stages/train.py" in evidence.load(evidence.resolve("workspace")).stale
    metrics = Path("metrics/metrics.json")
    metrics.write_text(metrics.read_text().replace("0.9", "0.95"))
    assert "metrics/metrics.json" in evidence.load(evidence.resolve("workspace")).stale


@pytest.mark.usefixtures("git")
def test_a_regression_fails_where_it_is_asked_to(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    write_run(Path(), 0.001, 0, [3] * 2 + [8] * 8)
    compare("main")
    with pytest.raises(SystemExit, match="1"):
        compare("main", "--fail-on-regression")
    assert capfdbinary.readouterr().out.startswith(b"**Worse: 90.00 % \xe2\x86\x92 20.00 %, 0 test")
    compare("workspace", "main", "--fail-on-regression")
    assert b"Better" in capfdbinary.readouterr().out
    write_run(Path(), 0.001, 0, [3] * 4 + [8] * 6)
    compare("main", "--fail-on-regression")  # five flips
    assert b"No evidence" in capfdbinary.readouterr().out


def test_json_is_the_same_as_data(git: Git, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    write_run(Path(), 0.01, 0, RIGHT)
    compare("main", "--json")
    content: dict[str, Any] = json.loads(capfdbinary.readouterr().out)
    assert content["base"] == {"name": "main", "commit": git("rev-parse", "main")}
    assert content["head"] == {"name": "workspace", "commit": None}
    assert content["verdict"] == "no evidence"
    assert content["sentence"].startswith("No evidence of a difference: 90.00 % → 100.00 %, 1 test")
    assert content["params"] == {"train.lr": {"base": 0.001, "head": 0.01}}
    assert (content["overall"]["fixed"], content["overall"]["p"]) == (1, 1)
    assert content["shrank"] == [{"label": 3, "predicted": 8, "base": 1, "head": 0}]
    assert list(content["digits"]) == ["3"]


def test_seeds_are_lists_of_revisions(git: Git, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    for lr in (0.01, 0.1):
        for seed in (1, 2):
            write_run(Path(), lr, seed, [3] * 8 + [3 if lr < 0.1 else 7, seed])
            commit(git)
            git("tag", f"lr{lr}-{seed}")
    compare("--seeds", "lr0.01-1,lr0.01-2", "lr0.1-1,lr0.1-2", "--json")
    content = json.loads(capfdbinary.readouterr().out)
    assert content["verdict"] == "worse"
    assert content["params"] == {"train.lr": {"base": 0.01, "head": 0.1}}
    assert content["metrics"]["test.accuracy"]["head"] == {"n": 2, "mean": 0.8, "deviation": 0}
    assert [run["seed"] for run in content["base"]] == [1, 2]
    with pytest.raises(UserError, match=r"^--seeds: BASE names one run"):
        compare("--seeds", "lr0.01-1")
    with pytest.raises(SystemExit, match="2"):
        compare("--seeds", "main,main", "main,main", "--images", "pictures")


@pytest.mark.usefixtures("git")
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


def test_the_paths_are_those_of_the_pipeline() -> None:
    outputs = {
        name if isinstance(name, str) else next(iter(name))
        for stage in runner.STAGES.values()
        for key in ("outs", "metrics", "plots")
        for name in stage.get(key, [])
    }
    used = {evidence.DATA, evidence.MODEL, evidence.METRICS, evidence.PREDICTIONS}
    assert used <= outputs


def test_a_table_may_have_more_columns_in_another_order() -> None:
    content = b"epoch,lr,loss,validation_loss\n1,0.5,0.25,\n2,0.1,0.125,\n"
    table = evidence.parse_table(content, {"loss": float, "epoch": int})
    assert table.tolist() == [(0.25, 1), (0.125, 2)]
