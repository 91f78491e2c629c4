"""DVC keeps its pickles where no other user of the machine can write."""

import stat
import sys
from pathlib import Path

import pytest

from tests.support import posix
from tests.support.project import Project

pytestmark = [pytest.mark.slow, posix.only]  # make, permissions of folders

SITE = ".dvc/tmp/site"


def test_make_moves_the_pickles_of_every_dvc_command_into_a_private_folder(
    project: Project,
) -> None:
    venv = Path(sys.executable).parents[1]
    project("make", f"VENV={venv}", f"--old-file={venv}/.run", SITE)

    def dvc(*arguments: str) -> str:
        process = project.run("dvc", *arguments, DVC_SITE_CACHE_DIR="")
        assert process.returncode == 0, process.stdout
        return process.stdout

    folder = project.folder / SITE
    dvc("repro", "--force", "plot", "--single-item")
    assert len(list(folder.glob("repo/*"))) == 1
    dvc("exp", "run", "--temp", "--set-param=plot.dpi=50")
    assert len(list(folder.glob("repo/*"))) == 2  # a folder for each place where DVC worked
    dvc("--cd=stages", "status")
    assert f"Repo.site_cache_dir: {folder}/repo/" in dvc("--cd=stages", "doctor")
    assert len(list(folder.glob("repo/*"))) == 2
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert project("git", "status", "--short") == ""
