"""README.md and the pages of docs/, followed as a new user would, on MNIST itself: each page in a
fresh clone in which `dvc repro` has run, but README.md in one in which nothing has.
docs/adapting.md has a test of its own."""

import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.support import posix
from tests.support.follow import follow
from tests.support.outputs import DATA
from tests.support.pages import PAGES, README, Page
from tests.support.project import ENVIRONMENT, Project, copy_tracked_files
from tests.support.runner import ROOT

pytestmark = [pytest.mark.real, pytest.mark.slow, posix.only]

CACHE = ".dvc/cache/files"
MADE = [".venv/.run", ".venv/.dev"]  # by make, when it has installed what is needed
FOLLOWED = [
    page
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
    shutil.copytree(ROOT / CACHE, project.folder / CACHE)
    project("git", "init", "--quiet", "--bare", "--initial-branch=main", "../origin.git")
    project("git", "init", "--quiet", "--initial-branch=main")
    project("git", "remote", "add", "origin", "../origin.git")
    project("dvc", "checkout")
    project("dvc", "repro")
    project("git", "add", "--all")
    project("git", "commit", "--quiet", "--message=the project")
    project("git", "commit", "--quiet", "--message=no change", "--allow-empty")  # for HEAD~1
    project("git", "push", "--quiet", "--set-upstream", "origin", "main")
    (project.folder / ".venv").symlink_to(sys.prefix)
    return folder


@pytest.mark.parametrize("page", FOLLOWED, ids=str)
def test_a_page_says_what_happens(page: Page, prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared, tmp_path / "work", symlinks=True)
    project = Project(tmp_path / "work/project")
    if page is README:
        project("git", "clean", "--quiet", "--force", "-dx", "--exclude=.venv")
    (tmp_path / "aside").mkdir()
    places = {
        "COLUMNS": "100",
        "DVC_SITE_CACHE_DIR": str(tmp_path / "site"),
        "MAKEFLAGS": " ".join(f"--old-file={name}" for name in MADE),  # the environment is there
        "MNIST_DIR": str(DATA),
    }
    try:
        follow(page, project.folder, tmp_path / "aside", ENVIRONMENT | places)
    finally:
        project.end_queue()
