"""Revisions of a repository that holds nothing but a run's files."""

from pathlib import Path

import pytest

from stages.common.errors import UserError
from tests.support.run_files import RIGHT, commit, git, write_run
from tools import git as git_tool
from tools.git import WORKSPACE, resolve
from tools.yaml_files import parse_yaml

in_repository = pytest.mark.usefixtures("repository")


def experiment(name: str, baseline: str, result: str) -> None:
    """Keep the commit `result` as DVC keeps an experiment that started from `baseline`."""
    git("update-ref", f"refs/exps/{baseline[:2]}/{baseline[2:]}/{name}", result)


@in_repository
def test_a_revision_may_have_any_name_that_git_knows() -> None:
    commit = git("rev-parse", "HEAD")
    git("tag", "--annotate", "--message=tag", "v1")
    for name in ("main", "HEAD", "v1", "main~0"):
        assert resolve(name).commit == commit
        assert str(resolve(name)) == f"{name} ({commit[:7]})"
    assert resolve(commit[:9]).commit == commit
    assert str(resolve(commit)) == str(resolve(commit[:9])) == commit[:7]
    assert resolve("workspace") == WORKSPACE


@in_repository
def test_an_experiment_is_found_by_its_name() -> None:
    baseline = git("rev-parse", "HEAD")
    git("checkout", "--quiet", "--detach")
    write_run(Path(), 0.01, 0, RIGHT)
    result = commit()
    git("checkout", "--quiet", "main")
    experiment("proud-fox", baseline, result)
    git("update-ref", "refs/exps/exec/EXEC_HEAD", baseline)  # DVC keeps more than experiments
    assert resolve("proud-fox").commit == result
    for name in ("EXEC_HEAD", "proud", "", "--all", "HEAD:dvc.lock", "*", "HEAD\nHEAD"):
        with pytest.raises(UserError, match="is neither a git revision nor an experiment; `git"):
            resolve(name)


@in_repository
def test_of_experiments_with_one_name_the_one_that_started_here_is_meant() -> None:
    first = git("rev-parse", "HEAD")
    Path("note").write_text("2")
    second = commit()
    experiment("fox", first, first)
    experiment("fox", second, second)
    assert resolve("fox").commit == second
    Path("note").write_text("3")
    commit()
    with pytest.raises(UserError, match=r"^fox: 2 experiments have this name; say \w+ or "):
        resolve("fox")


def test_a_file_may_hold_any_bytes_be_missing_and_be_in_a_folder_of_the_repository(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "project").mkdir()
    monkeypatch.chdir(repository / "project")
    contents = {"empty": b"", "lines": b"a\n\nb missing\n", "bytes": bytes(range(256))}
    for name, content in contents.items():
        Path(name).write_bytes(content)
    commit()
    for revision in (resolve("main"), WORKSPACE):
        found = git_tool.find(revision, ["empty", "none", "lines", "stages", "bytes"])
        assert {name: found[name] for name in contents} == contents
        assert "none" not in found


@in_repository
def test_all_that_is_missing_is_named_at_once_with_how_to_make_it() -> None:
    git("rm", "--quiet", "dvc.lock", "metrics/metrics.json")
    short = commit()[:7]
    paths = ["dvc.lock", "params.yaml", "metrics/metrics.json"]
    missing = "lacks dvc.lock, metrics/metrics.json; make it"
    for revision, remedy in (("main", f": `git checkout {short}"), ("workspace", " with `dvc")):
        with pytest.raises(UserError, match=missing + remedy):
            git_tool.read(resolve(revision), paths)


@in_repository
@pytest.mark.parametrize("content", ["a: [\n", "- 1\n", "a: !!python/name:os.system\n"])
def test_a_file_that_is_no_yaml_mapping_is_named_in_one_line(content: str) -> None:
    Path("params.yaml").write_text(content)
    with pytest.raises(UserError, match=r"^workspace: params.yaml: not as expected \([^\n]*\Z"):
        git_tool.load(WORKSPACE, "params.yaml", parse_yaml)


def test_yaml_is_read_as_dvc_reads_it() -> None:
    assert parse_yaml(b"a: 1e-3\nb: 010\nc: yes\n") == {"a": 0.001, "b": 10, "c": "yes"}
