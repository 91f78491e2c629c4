"""Two changes that meet: git merges the sources, `dvc repro` makes the results."""

from pathlib import Path

import pytest

from tests.support.project import Project
from tools.dvc_files import Lock

pytestmark = pytest.mark.slow

BRANCHES = {  # what each changes: a file, the text there, the new one
    "lr": ("params.yaml", "  lr: 0.05\n", "  lr: 0.02\n"),
    "slower": ("params.yaml", "  lr: 0.05\n", "  lr: 0.01\n"),
    "seed": ("params.yaml", "  seed: 42\n", "  seed: 43\n"),
    "code": ("stages/train.py", "generator(seed, epoch)", "generator(seed, epoch, 1)"),
}


@pytest.fixture(scope="module")
def branches(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A branch from main for each change, with its results. Not to be changed."""
    project = reproduced.copy(tmp_path_factory.mktemp("branches"))
    for name, (path, old, new) in BRANCHES.items():
        project("git", "switch", "--quiet", "--create", name, "main")
        source = (project.folder / path).read_text(encoding="utf-8")
        assert source.count(old) == 1
        (project.folder / path).write_text(source.replace(old, new), encoding="utf-8")
        project.repro()
        project("git", "commit", "--quiet", "--all", f"--message={name}")
    return project


@pytest.fixture
def project(branches: Project, tmp_path: Path) -> Project:
    return branches.copy(tmp_path)


def conflicts(project: Project) -> list[str]:
    """The files in which git has found a conflict; of the results, all that both sides changed."""
    found = project("git", "diff", "--name-only", "--diff-filter=U").split()
    assert {"dvc.lock", "metrics/history.csv", "metrics/epochs.csv"} <= {*found}
    return [path for path in found if path != "dvc.lock" and not path.startswith("metrics/")]


def outputs(project: Project) -> dict[str, str]:
    return Lock.parse((project.folder / "dvc.lock").read_bytes()).outputs


def make_results(project: Project) -> None:
    """What docs/sharing.md says."""
    project.repro()
    project("git", "add", "--update")


def test_a_merge_of_code_and_params_is_a_new_run_and_compare_says_what_it_merges(
    project: Project,
) -> None:
    project("git", "switch", "--quiet", "lr")
    assert project.run("git", "merge", "code").returncode == 1
    assert conflicts(project) == []
    sides = [project("git", "rev-parse", name).strip()[:7] for name in ("lr", "code")]
    make_results(project)
    project("git", "commit", "--quiet", "--message=both")
    assert project("git", "status", "--short") == ""
    assert project("dvc", "status").endswith("Data and pipelines are up to date.\n")

    merged = project("python", "-m", "tools.compare", "HEAD^1", "HEAD")
    assert f"- Head merges `{sides[0]}` and `{sides[1]}`. Base is parent 1, so" in merged
    assert "- Code: `stages/train.py`\n" in merged
    merged = project("python", "-m", "tools.compare", "main", "HEAD")
    assert f"`{sides[1]}`. Base is none of them.\n" in merged
    assert "- `train.lr`: `0.05` → `0.02`\n" in merged

    made = outputs(project)  # as by whoever makes both changes at once
    project("dvc", "repro", "--force")
    assert outputs(project) == made


@pytest.mark.parametrize("command", ["rebase", "cherry-pick"])
def test_a_commit_that_is_moved_is_a_new_run_too(project: Project, command: str) -> None:
    project("git", "switch", "--quiet", "seed")
    moved = {"rebase": ("rebase", "lr"), "cherry-pick": ("cherry-pick", "lr")}[command]
    assert project.run("git", *moved).returncode == 1
    assert conflicts(project) == []
    make_results(project)
    project("git", "-c", "core.editor=true", command, "--continue")
    assert project("git", "status", "--short") == ""
    compared = project("python", "-m", "tools.compare", "main", "HEAD")
    for line in ("- `train.lr`: `0.05` → `0.02`", "- `train.seed`: `42` → `43`"):
        assert f"\n{line}\n" in compared
    assert "Head merges" not in compared


def test_two_values_of_one_parameter_are_a_choice_that_every_command_asks_for(
    project: Project,
) -> None:
    project("git", "switch", "--quiet", "lr")
    assert project.run("git", "merge", "slower").returncode == 1
    assert conflicts(project) == ["params.yaml"]
    for command in (["make", "repro"], ["python", "-m", "tools.compare", "main"]):
        process = project.run(*command)
        assert process.returncode != 0
        assert "params.yaml: line " in process.stdout
        assert ": a merge has left a conflict here. In params.yaml, " in process.stdout
        assert "Traceback" not in process.stdout

    project("git", "checkout", "--quiet", "--theirs", "params.yaml")
    make_results(project)  # from DVC's cache
    project("git", "commit", "--quiet", "--message=slower")
    assert project("git", "diff", "slower", "HEAD") == ""


def test_results_of_two_sides_are_an_error_and_those_of_one_are_stale(project: Project) -> None:
    project("git", "switch", "--quiet", "lr")
    project.run("git", "merge", "seed")
    project("git", "commit", "--quiet", "--all", "--message=ours")  # nothing was run
    compared = project("python", "-m", "tools.compare", "main", "HEAD")
    assert "Note: in `head` these differ from `dvc.lock`: `train.seed`." in compared
    project("git", "checkout", "seed", "metrics/metrics.json", "metrics/predictions.csv")
    project("git", "checkout", "seed", "metrics/epochs.csv")
    project("git", "commit", "--quiet", "--amend", "--no-edit")
    process = project.run("python", "-m", "tools.compare", "main", "HEAD")
    assert process.returncode == 1
    assert process.stdout.startswith("**Do not believe what follows: the files of `HEAD (")
    for name in ("metrics", "predictions", "epochs"):
        assert f"\n- `metrics/{name}." in process.stdout
