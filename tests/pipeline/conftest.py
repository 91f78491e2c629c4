"""The project in a temporary clone, reproduced once, to be copied by each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.support import browser, tiny
from tests.support.project import Project, copy_tracked_files
from tests.support.runner import fix_params
from tools.yaml_files import set_values

QUICK: dict[str, object] = {
    "train.epochs": 2,
    "train.batch_size": 20,
    "train.lr": 0.05,
    "train.log_every": 10,
}


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone in which `dvc repro` has run and its result is committed. Not to be changed."""
    folder = tmp_path_factory.mktemp("session") / "project"
    project = Project(folder)
    copy_tracked_files(folder)
    shutil.rmtree(folder / "metrics")
    for digests in [folder / "dvc.lock", *folder.glob("dvc.*.json")]:
        digests.unlink()
    data = {"download.sha256": tiny.write(folder.parent / "tiny")}  # 600 images
    fix_params(folder / "params.yaml", QUICK | data)
    project("git", "init", "--quiet", "--initial-branch=main")
    assert project.repro() == ["download", "train", "evaluate", "plot"]
    project("git", "add", "--all")
    project("git", "commit", "--quiet", "--message=tiny")
    return project


@pytest.fixture
def project(reproduced: Project, tmp_path: Path) -> Project:
    """A copy of the reproduced clone, to be changed at will."""
    return reproduced.copy(tmp_path)


@pytest.fixture(scope="session")
def committed(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose training takes seconds, reproduced and committed; DVC's cache holds its
    data, but not its results, as if fetched by someone else. Not to be changed."""
    project = reproduced.copy(tmp_path_factory.mktemp("slow"))
    set_values(project.folder / "params.yaml", {"train.epochs": 6, "train.batch_size": 4})
    project.repro()
    project("git", "commit", "--quiet", "--all", "--message=slow")
    shutil.rmtree(project.folder / ".dvc/cache")  # or DVC would not run what it has the result of
    project("dvc", "commit", "--force", "download")
    assert project("git", "status", "--short") == ""
    return project


@pytest.fixture
def slow(committed: Project, tmp_path: Path) -> Project:
    """A copy of it, to be changed at will."""
    return Project(shutil.copytree(committed.folder, tmp_path / "project", symlinks=True))


@pytest.fixture(scope="session")
def written(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the tiny run, only for reading."""
    path = tmp_path_factory.mktemp("page") / "index.html"
    reproduced("python", "-m", "tools.page", str(path))
    return path


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser.chromium() as started:
        yield started


@pytest.fixture
def page(chromium: Browser, written: Path) -> Iterator[Page]:
    """The page of the tiny run in a browser without a network."""
    with browser.opened(chromium, written) as opened:
        yield opened
