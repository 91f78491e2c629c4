import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import runner

HINT = (
    "run `make repro`, or activate the environment first"
    " (source .venv/bin/activate; on Windows .venv\\Scripts\\activate)\n"
)


@pytest.mark.parametrize("interpreter", [sys.executable, "/usr/bin/python3"])
def test_a_python_without_the_packages_says_so_in_one_line(interpreter: str) -> None:
    if not Path(interpreter).exists():
        pytest.skip(f"no {interpreter} here")
    no_packages = "-S"
    process = runner.python("-m", "stages.plot", command=(interpreter, no_packages))
    assert process.returncode == 1
    lines = (runner.ROOT / "requirements-stages.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert process.stderr == f"{interpreter} lacks {', '.join(pins)}: {HINT}"


@pytest.mark.parametrize("minor", range(6, 11))
def test_a_python_that_is_too_old_says_so_in_one_line(minor: int) -> None:
    name = f"python3.{minor}"
    pyenv = map(str, Path(sys.base_prefix).parent.glob("3.*/bin"))  # pyenv keeps its versions there
    interpreter = shutil.which(name, path=os.pathsep.join([*pyenv, os.environ["PATH"]]))
    if not interpreter or runner.python("-c", "", command=(interpreter,)).returncode:
        pytest.skip(f"no {name} here")
    process = runner.python("-m", "stages.train", command=(interpreter,))
    assert process.returncode == 1
    assert process.stderr.startswith(f"{interpreter} is Python 3.{minor}.")
    assert process.stderr.endswith(f", not 3.11 to 3.14: {HINT}")


def test_a_stage_on_a_terminal_says_at_once_that_it_has_started() -> None:
    if sys.platform == "win32":
        pytest.skip("Windows has no pseudo-terminal")
    screen, terminal = os.openpty()
    help_of_plot = [sys.executable, "-m", "stages.plot", "--help"]
    subprocess.run(help_of_plot, cwd=runner.ROOT, stdout=terminal, check=True)
    assert os.read(screen, 8) == b"Starting"
    os.close(terminal)
    os.close(screen)


def test_a_stage_in_a_log_says_nothing_before_its_result() -> None:
    assert runner.python("-m", "stages.plot", "--help").stdout.startswith("usage:")
