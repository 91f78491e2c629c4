"""The benchmarks, on tiny data: does each contestant still run, and train as it is told?"""

import pytest

from tests.support import posix
from tests.support.project import Project


@pytest.mark.slow
@posix.only
def test_the_contestants_take_a_turn_and_are_drawn(project: Project) -> None:
    command = ("python", "-m", "benchmarks.speed", "--quick", "--repeats=1", "--curves=curves.png")
    rows = [line.split("|") for line in project(*command).splitlines() if line.startswith("|")]
    epochs = {row[1].strip(): row[2].strip() for row in rows[2:7]}
    trainings = ["notebook", "default", "default, one worker", "sprint", "tuned"]
    assert epochs == dict.fromkeys(trainings, "2")
    assert (project.folder / "curves.png").read_bytes().startswith(b"\x89PNG")
