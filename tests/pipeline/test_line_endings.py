"""git for Windows suggests `core.autocrlf=true`: lines of the working tree end with CR LF."""

from pathlib import Path

from tests.support.project import Project


def test_a_clone_with_windows_line_endings_is_up_to_date(project: Project, tmp_path: Path) -> None:
    clone = Project(tmp_path / "clone")
    project("git", "clone", "--quiet", "--config=core.autocrlf=true", ".", str(clone.folder))
    cache = project.folder / ".dvc/cache"
    clone("dvc", "config", "--local", "cache.dir", str(cache))
    clone("dvc", "checkout")
    assert clone("dvc", "status") == "Data and pipelines are up to date.\n"
    assert clone("git", "status", "--short") == ""


def test_a_lock_that_dvc_wrote_on_windows_is_no_change(project: Project) -> None:
    for path in (project.folder / "dvc.lock", project.folder / "params.yaml"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    project("git", "add", "--all")
    assert project("git", "diff", "--cached", "--stat") == ""
    assert project("dvc", "status") == "Data and pipelines are up to date.\n"
