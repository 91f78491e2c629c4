"""A clone as other people have it: line endings of Windows, another Python first on PATH, a machine
shared with others."""

import os
import stat
import sys
from pathlib import Path

import pytest

from tests.support import posix
from tests.support.project import ENVIRONMENT, Project, make_command

UP_TO_DATE = "Data and pipelines are up to date.\n"


def test_a_clone_with_windows_line_endings_is_up_to_date(project: Project, tmp_path: Path) -> None:
    """git for Windows suggests `core.autocrlf=true`: text in the clone would end with CR LF."""
    clone = Project(tmp_path / "clone")
    project("git", "clone", "--quiet", "--config=core.autocrlf=true", ".", str(clone.folder))
    clone("dvc", "config", "--local", "cache.dir", str(project.folder / ".dvc/cache"))
    clone("dvc", "checkout")
    for path in (clone.folder / "dvc.lock", clone.folder / "params.yaml"):  # as DVC writes there
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert clone("dvc", "status") == UP_TO_DATE
    clone("git", "add", "--all")
    assert clone("git", "status", "--short") == ""


def test_another_python_first_on_the_path_is_named_in_one_line(project: Project) -> None:
    """DVC was started without activating the environment."""
    bare = project.folder.parent / "bin"
    bare.mkdir()
    (bare / "python").symlink_to(Path(sys.executable).resolve())  # it has no packages there
    dvc = str(Path(sys.executable).parent / "dvc")
    path = f"{bare}{os.pathsep}{ENVIRONMENT['PATH']}"
    process = project.run(dvc, "repro", "--force", PATH=path)
    assert process.returncode != 0
    assert f"{bare / 'python'} lacks" in process.stdout
    assert "run `make repro`, or activate the environment first" in process.stdout
    assert "Traceback" not in process.stdout


@pytest.mark.slow
@posix.only  # make, permissions of folders
def test_make_moves_the_pickles_of_every_dvc_command_into_a_private_folder(
    project: Project,
) -> None:
    project(*make_command(".dvc/tmp/site"))
    folder = project.folder / ".dvc/tmp/site"
    for command, places in (
        ("repro --force plot --single-item", 1),
        ("exp run --temp --set-param=plot.dpi=50", 2),  # a folder for each place where DVC worked
        ("--cd=stages status", 2),
    ):
        process = project.run("dvc", *command.split(), DVC_SITE_CACHE_DIR="")
        assert process.returncode == 0, process.stdout
        assert len(list(folder.glob("repo/*"))) == places
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert project("git", "status", "--short") == ""
