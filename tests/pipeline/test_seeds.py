"""`python -m tools.seeds` on tiny data: killed and started again, twice at once, and what fails."""

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support import posix
from tests.support.project import Project
from tools.compare.recipes import SEEDS

pytestmark = [pytest.mark.slow, posix.only]  # a shell script counts what DVC runs

TRAIN = (sys.executable, "-m", "tools.seeds", "main")
COMPARE = (sys.executable, "-m", "tools.compare", "main")


@dataclass
class Counted(Project):
    """A project in which DVC runs each command of a stage in a shell that writes it down."""

    def __post_init__(self) -> None:
        self.shell, self.commands = (self.folder.parent / name for name in ("shell", "commands"))
        self.commands.write_text("")
        self.shell.write_text(f'#!/bin/sh\necho "$2" >> "{self.commands}"\nexec /bin/sh "$@"\n')
        self.shell.chmod(0o755)

    def environment(self) -> dict[str, str]:
        return super().environment() | {"SHELL": str(self.shell)}

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ran(self, stage: str) -> int:
        """How often the stage was started."""
        return self.commands.read_text().count(f"stages.{stage} ")

    def wait_for(self, trainings: int) -> None:
        """Until that training is running."""
        deadline = time.monotonic() + 300
        while self.ran("train") < trainings:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def fails(self, *command: str) -> str:
        """What a command prints that must end with 1 and without a traceback."""
        process = self.run(*command)
        assert process.returncode == 1, process.stdout
        assert "Traceback" not in process.stdout
        return process.stdout

    def branch(self, name: str, group: str, key: str, value: object) -> None:
        """A branch from main with another value in params.yaml, committed."""
        self("git", "switch", "--quiet", "--create", name, "main")
        self.set_param(group, key, value)
        self("git", "commit", "--quiet", "--all", f"--message={name}")

    def content(self) -> dict[str, Any]:
        """What the tool wrote."""
        content: dict[str, Any] = json.loads((self.folder / SEEDS).read_bytes())
        return content


@pytest.fixture(scope="module")
def done(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Counted:
    """All was killed in the third of four trainings, and started again. Not to be changed."""
    counted = Counted(reproduced.copy(tmp_path_factory.mktemp("done")).folder)
    counted.branch("lr", "train", "lr", 0.0001)
    counted.repro()
    counted("git", "commit", "--quiet", "--all", "--amend", "--no-edit")
    before = counted.ran("train")
    tool = counted.start(*TRAIN, "lr", "--n", "2")
    counted.wait_for(before + 3)
    process = psutil.Process(tool.pid)
    for each in (process, *process.children(recursive=True)):  # DVC and the trainer, too
        each.kill()
    tool.communicate()
    assert not (counted.folder / SEEDS).exists()
    counted(*TRAIN, "lr", "--n", "2")
    assert counted.ran("train") == before + 4 + 1  # the one that was killed, once more
    assert not (counted.folder / ".dvc/tmp/seeds/copies").exists()
    return counted


@pytest.fixture
def counted(done: Counted, tmp_path: Path) -> Counted:
    """A copy of it, to be changed at will."""
    return Counted(done.copy(tmp_path).folder)


def test_a_second_start_runs_nothing_and_compare_judges_by_the_file(counted: Counted) -> None:
    file = counted.folder / SEEDS
    first = file.read_bytes()
    file.unlink()
    assert "trains both with several seeds" in counted(*COMPARE, "lr")
    trained = counted(*TRAIN, "lr", "--n", "2")
    assert counted.ran("train") == counted.ran("evaluate") == counted.ran("download") == 0
    assert file.read_bytes() == first

    counted("git", "add", SEEDS)
    counted("git", "commit", "--quiet", "--message=seeds")
    shutil.rmtree(counted.folder / ".dvc/cache")
    report = counted.fails(*COMPARE, "lr", "--fail-on-regression")
    verdict, _, rest = report.partition("\n\n")
    assert verdict.startswith("**This recipe is worse: mean accuracy ")
    assert f"\n{verdict}\n" in trained
    assert rest.startswith("**This network is worse: ")
    assert f"--fail-on-regression: {verdict.strip('*')}" in report

    for name in ("params.yaml", "dvc.lock"):
        path = counted.folder / name
        path.write_text(path.read_text().replace("lr: 0.0001", "lr: 0.0002"))
    assert f"`{SEEDS}` is of other recipes. Its head differs in `train.lr`." in counted(*COMPARE)


def test_two_at_once_run_each_training_once_and_the_run_of_a_killed_tool_has_ended(
    counted: Counted,
) -> None:
    old = counted.content()
    command = (*TRAIN, "lr", "--n", "3")
    killed = counted.start(*command)
    counted.wait_for(1)
    killed.kill()
    killed.communicate()  # ends with the last process that could write to it
    tools = [counted.start(*command) for _ in range(2)]
    outputs = [tool.communicate()[0] for tool in tools]
    assert [tool.returncode for tool in tools] == [0, 0], outputs
    assert sum("Another start of this tool" in output for output in outputs) == 1
    assert counted.ran("train") == 2 + 1  # the one that was killed, once more
    assert counted.ran("evaluate") == 2
    reports = [output[output.index("**This recipe") :] for output in outputs]
    assert reports[0] == reports[1]
    new = counted.content()
    for side in ("base", "head"):
        assert new[side]["runs"][:2] == old[side]["runs"]
        assert [run["seed"] for run in new[side]["runs"]] == [0, 1, 2]


def test_each_side_has_its_own_code_and_the_workspace_counts_without_a_commit(
    counted: Counted,
) -> None:
    old = counted.content()
    source = counted.folder / "stages/training/augment.py"
    source.write_text(source.read_text() + "# another text, the same step\n")
    status = counted("git", "status", "--short")
    counted(*TRAIN, "workspace", "--n", "2")
    assert counted("git", "status", "--short") == status
    assert counted.ran("train") == 2  # of head: other code is another run
    new = counted.content()
    base, head = (new[side]["recipe"]["files"] for side in ("base", "head"))
    assert {path for path in base if base[path] != head[path]} == {"stages/training/augment.py"}
    assert new["head"]["runs"] == old["head"]["runs"]


def test_a_run_that_fails_or_takes_too_long_is_named(counted: Counted) -> None:
    assert "seed 0: did not end within 0.001 minutes. To go on from its last epoch" in (
        counted.fails(*TRAIN, "lr", "--limit", "0.001")
    )
    counted.branch("broken", "train", "lr", -1)
    printed = counted.fails(*TRAIN, "broken", "--n", "2")
    assert "BASE, main (" in printed  # its first run has ended well
    assert "\nHEAD, broken (" in printed
    assert "), seed 0: failed; all that it printed is in .dvc/tmp/seeds/HEAD.log:" in printed
    assert "\nparams.yaml: train.lr: must be greater than 0 (got -1)\n" in printed


def test_the_same_recipe_is_not_compared_with_itself(counted: Counted) -> None:
    assert "hold the same files: nothing to compare" in counted.fails(*TRAIN, "main")
    counted.branch("dpi", "plot", "dpi", 50)
    printed = counted.fails(*TRAIN, "dpi")
    assert "BASE and HEAD train the same, with the same code, params and data" in printed
    assert counted.ran("train") == 0
