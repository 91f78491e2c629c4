"""All stages and the tools, on Linux, with what Windows has: tests/support/windows.py."""

import shutil
from pathlib import Path

import pytest

from tests.support import posix
from tests.support.parts import needs
from tests.support.project import Project
from tests.support.runner import STAGES

pytestmark = posix.only_linux

COMMANDS = {stage: entry["cmd"].split()[2:] for stage, entry in STAGES.items()}  # stages.STAGE …

ON_WINDOWS = ("python", "-m", "tests.support.windows")


def run(project: Project, module: str, *arguments: str) -> str:
    """Run a module that must succeed; its output, which goes into a pipe of Windows."""
    process = project.run(*ON_WINDOWS, module, *arguments, PYTHONIOENCODING="cp1252")
    assert process.returncode == 0, process.stdout
    assert "Traceback" not in process.stdout
    return process.stdout


def test_all_stages_give_the_bytes_of_linux(project: Project) -> None:
    for folder in ("data", "models", "metrics"):
        shutil.rmtree(project.folder / folder)
    for command in COMMANDS.values():
        run(project, *command)
    assert project("dvc", "status") == "Data and pipelines are up to date.\n"


def test_a_training_that_failed_goes_on(project: Project) -> None:
    model = project.folder / "models/model.safetensors"
    model.unlink()
    model.mkdir()  # so it cannot be written
    process = project.run(*ON_WINDOWS, *COMMANDS["train"])
    assert process.returncode == 1
    assert "model.safetensors: cannot be written" in process.stdout
    model.rmdir()
    assert "Resuming after epoch 2" in run(project, *COMMANDS["train"])
    assert project("dvc", "status") == "Data and pipelines are up to date.\n"
    # On Windows, not on Linux, filelock removes the lock.
    assert [path.name for path in (project.folder / ".progress").iterdir()] == ["lock"]


@pytest.mark.slow
def test_the_tools_work(project: Project, tmp_path: Path) -> None:
    digits = tmp_path / "数字"  # characters that cp1252 lacks
    shutil.copytree(project.folder / "docs/digits", digits)
    assert str(digits).encode("ascii", "backslashreplace").decode() in run(
        project, "tools.predict", str(digits), "--rev", "HEAD"
    )
    assert "Pictures in `seen`" in run(project, "tools.compare", "HEAD", "--images", "seen")
    assert "All 9 artifacts are the same" in run(project, "tools.verify")


@needs("tools/page")
@pytest.mark.slow
def test_the_page_is_written(project: Project) -> None:
    assert "open it in a browser" in run(project, "tools.page")
