"""All stages and the tools, on Linux, with what Windows has: tests/support/windows.py."""

import shutil
from pathlib import Path

import pytest

from tests.support import faults, runner
from tests.support.project import Project
from tools.dvc_files import Pipeline

PIPELINE = Pipeline.parse((runner.ROOT / "dvc.yaml").read_bytes())


def run(project: Project, module: str, *arguments: str) -> str:
    """Run a module that must succeed; its output, which goes into a pipe of Windows."""
    command = ("python", "-m", "tests.support.windows", module, *arguments)
    process = project.run(*command, PYTHONIOENCODING="cp1252")
    assert process.returncode == 0, process.stdout
    assert "Traceback" not in process.stdout
    return process.stdout


def assert_done(project: Project) -> None:
    """All outputs are those of dvc.lock, and no progress is left. The lock itself is: on Windows,
    not on Linux, filelock removes it."""
    assert project("dvc", "status") == "Data and pipelines are up to date.\n"
    assert [path.name for path in (project.folder / ".progress").iterdir()] == ["lock"]


def test_all_stages_give_the_bytes_of_linux(project: Project) -> None:
    for folder in ("data", "models", "metrics"):
        shutil.rmtree(project.folder / folder)
    for stage in PIPELINE.stages:
        _m, module, *arguments = PIPELINE.command(stage)
        run(project, module, *arguments)
    assert_done(project)


def test_a_killed_training_goes_on(project: Project) -> None:
    _m, module, *arguments = PIPELINE.command("train")
    shutil.rmtree(project.folder / "models")
    faults.start(project.folder, arguments, die_at=40).join()  # in the second epoch
    assert "Resuming after epoch 1" in run(project, module, *arguments)
    assert_done(project)


@pytest.mark.slow
def test_the_tools_work(project: Project, tmp_path: Path) -> None:
    digits = tmp_path / "数字"  # characters that cp1252 lacks
    shutil.copytree(project.folder / "docs/digits", digits)
    assert str(digits).encode("ascii", "backslashreplace").decode() in run(
        project, "tools.predict", str(digits), "--rev", "HEAD"
    )
    assert "Pictures in `seen`" in run(project, "tools.compare", "HEAD", "--images", "seen")
    assert "open it in a browser" in run(project, "tools.page")
    assert "All 9 artifacts are the same" in run(project, "tools.verify")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import fcntl", "ModuleNotFoundError"),
        ("from os import killpg", "ImportError"),
        ("import signal; signal.SIGKILL", "AttributeError"),
        ("import os; os.open('.', os.O_RDONLY)", "PermissionError"),
        ("file = open('a', 'w'); pathlib.Path('a').unlink()", "PermissionError"),
        ("file = open('a', 'w'); pathlib.Path('b').touch(); pathlib.Path('b').replace('a')",
         "PermissionError"),
        ("pathlib.Path('a').write_bytes(b'1'); file = open('a', 'rb');"
         "import mmap; map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ); file.close();"
         "pathlib.Path('b').touch(); pathlib.Path('b').replace('a')", "PermissionError"),
        ("import filelock; lock = filelock.FileLock('a').acquire(); open('a').read()",
         "PermissionError"),
        ("open('a', 'w').write('→')", "UnicodeEncodeError"),
        ("pathlib.Path('a').write_text('\\n'); assert pathlib.Path('a').read_bytes() == b'\\n'",
         "AssertionError"),
    ],
)  # fmt: skip
def test_what_windows_lacks_is_away(code: str, error: str, tmp_path: Path) -> None:
    as_ours = {"__file__": str(runner.ROOT / "stages" / "x.py")}
    process = runner.python(
        "-c",
        "import pathlib; from tests.support import windows; windows.take_away();"
        f"exec({code!r}, {as_ours!r} | {{'pathlib': pathlib}})",
        folder=tmp_path,
    )
    assert process.stderr.splitlines()[-1].startswith(error), process.stderr
