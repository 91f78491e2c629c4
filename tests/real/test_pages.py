"""README.md and the pages of docs/, followed as a new user would, on MNIST itself: each page in a
fresh clone in which `dvc repro` has run, but README.md in one in which nothing has. The clones
share DVC's cache, so what two pages train is trained once.

docs/adapting.md is followed in tests/pipeline/test_adapting.py."""

import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.support import posix
from tests.support.follow import follow
from tests.support.outputs import DATA, MODEL
from tests.support.pages import PAGES, README, Page
from tests.support.project import ENVIRONMENT, Project, copy_tracked_files
from tests.support.runner import ROOT

pytestmark = [pytest.mark.committed, pytest.mark.real, pytest.mark.slow, posix.only]

INSTALLED = [".venv/.run", ".venv/.dev"]  # make writes these files when it has installed
FOLLOWED = [
    pytest.param(page, marks=pytest.mark.long) if page.path.name == "exercises.md" else page
    for page in PAGES
    if page.path.name != "adapting.md" and any(not fence.not_run for fence in page.fences())
]


@pytest.fixture(scope="module")
def prepared(predictions: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a clone, and with the repository that it was cloned from. Not to be changed."""
    assert len(predictions)
    folder = tmp_path_factory.mktemp("pages")
    project = Project(folder / "project")
    copy_tracked_files(project.folder)
    for made in (DATA, MODEL.parent):
        shutil.copytree(made, project.folder / made.relative_to(ROOT), dirs_exist_ok=True)
    (project.folder / ".dvc/cache").symlink_to(tmp_path_factory.mktemp("cache"))
    (project.folder / ".venv").symlink_to(sys.prefix)
    project("git", "init", "--quiet", "--bare", "--initial-branch=main", "../origin.git")
    project("git", "init", "--quiet", "--initial-branch=main")
    project("git", "remote", "add", "origin", "../origin.git")
    project("dvc", "commit", "--force")
    project("git", "add", "--all")
    project("git", "commit", "--quiet", "--message=the project")
    project("git", "commit", "--quiet", "--message=no change", "--allow-empty")  # for HEAD~1
    project("git", "push", "--quiet", "--set-upstream", "origin", "main")
    return folder


@pytest.mark.parametrize("page", FOLLOWED, ids=str)
def test_a_page_says_what_happens(page: Page, prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared, tmp_path / "work", symlinks=True)
    project = Project(tmp_path / "work/project")
    if page is README:
        keep = ["--exclude=.venv", "--exclude=.dvc/cache"]
        project("git", "clean", "--quiet", "--force", "-dx", *keep)
        project("bash", "-c", "rm -r .dvc/cache/*")
    (tmp_path / "aside").mkdir()
    places = {
        "COLUMNS": "100",
        "DVC_SITE_CACHE_DIR": str(tmp_path / "site"),
        "MAKEFLAGS": " ".join(f"--old-file={name}" for name in INSTALLED),
        "MNIST_DIR": str(DATA),
    }
    try:
        follow(page, project.folder, tmp_path / "aside", ENVIRONMENT | places)
    finally:
        project.end_queue()
