"""`python -m tools.seeds` on tiny data: killed and started again, twice at once, and what fails."""

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.support import posix
from tests.support.project import Project
from tools.compare.recipes import SEEDS

pytestmark = [pytest.mark.slow, posix.only]  # a shell script counts what DVC runs

COMMAND = (sys.executable, "-m", "tools.seeds", "main", "lr")


@dataclass
class Counted:
    """A project on whose branch `lr` another learning rate ran. DVC runs each command of a stage in
    a shell that writes it down."""

    project: Project
    folder: Path

    @property
    def shell(self) -> Path:
        return self.folder / "shell"

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return self.project.run(*command, SHELL=str(self.shell))

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self.project.folder,
            env=self.project.environment() | {"SHELL": str(self.shell)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ran(self, stage: str) -> int:
        """How often the stage was started."""
        log = self.folder / "commands"
        return log.read_text().count(f"stages.{stage} ") if log.exists() else 0

    def wait_for(self, trainings: int) -> None:
        """Until that training is running."""
        deadline = time.monotonic() + 300
        while self.ran("train") < trainings:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def file(self) -> bytes:
        return (self.project.folder / SEEDS).read_bytes()

    def copy(self, folder: Path) -> "Counted":
        copied = Counted(self.project.copy(folder / "project"), folder)
        copied.make_shell()
        return copied

    def make_shell(self) -> None:
        text = f'#!/bin/sh\necho "$2" >> "{self.folder}/commands"\nexec /bin/sh "$@"\n'
        self.shell.write_text(text)
        self.shell.chmod(0o755)


def kill_all(tool: subprocess.Popen[str]) -> None:
    """The tool, DVC and the trainer."""
    processes = [psutil.Process(tool.pid), *psutil.Process(tool.pid).children(recursive=True)]
    for process in processes:
        process.kill()
    tool.communicate()


@pytest.fixture(scope="module")
def before(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Counted:
    """Nothing was run with other seeds yet. Not to be changed."""
    folder = tmp_path_factory.mktemp("before")
    counted = Counted(reproduced.copy(folder / "project"), folder)
    counted.make_shell()
    project = counted.project
    project("git", "switch", "--quiet", "--create", "lr")
    project.set_param("train", "lr", 0.0001)
    project.repro()
    project("git", "commit", "--quiet", "--all", "--message=lr")
    return counted


@pytest.fixture(scope="module")
def done(before: Counted, tmp_path_factory: pytest.TempPathFactory) -> Counted:
    """All was killed in the third of four trainings, and started again. Not to be changed."""
    counted = before.copy(tmp_path_factory.mktemp("done"))
    tool = counted.start(*COMMAND, "--n", "2")
    counted.wait_for(3)
    kill_all(tool)
    assert not (counted.project.folder / SEEDS).exists()
    process = counted.run(*COMMAND, "--n", "2")
    assert process.returncode == 0, process.stdout
    assert counted.ran("train") == 4 + 1  # the one that was killed, once more
    assert not (counted.project.folder / ".dvc/tmp/seeds/copies").exists()
    return counted


@pytest.fixture
def counted(done: Counted, tmp_path: Path) -> Counted:
    """A copy of it, to be changed at will."""
    return done.copy(tmp_path)


def test_a_second_start_runs_nothing_and_writes_the_same_file(counted: Counted) -> None:
    first = counted.file()
    (counted.project.folder / SEEDS).unlink()
    process = counted.run(*COMMAND, "--n", "2")
    assert process.returncode == 0, process.stdout
    assert "**This recipe is worse: mean accuracy" in process.stdout
    assert "HEAD, lr (" in process.stdout
    assert counted.ran("train") == counted.ran("evaluate") == counted.ran("download") == 0
    assert counted.file() == first


def test_two_at_once_run_each_training_once(counted: Counted) -> None:
    old = json.loads(counted.file())
    tools = [counted.start(*COMMAND, "--n", "3") for _ in range(2)]
    outputs = [tool.communicate()[0] for tool in tools]
    assert [tool.returncode for tool in tools] == [0, 0], outputs
    assert sum("Another start of this tool is at work" in output for output in outputs) == 1
    assert counted.ran("train") == counted.ran("evaluate") == 2
    reports = [output[output.index("**This recipe") :] for output in outputs]
    assert reports[0] == reports[1]
    new = json.loads(counted.file())
    for side in ("base", "head"):
        assert new[side]["runs"][:2] == old[side]["runs"]
        assert new[side]["runs"][2]["seed"] == 2


def test_a_run_that_outlives_the_killed_tool_is_waited_for(counted: Counted) -> None:
    tool = counted.start(*COMMAND, "--n", "3")
    counted.wait_for(1)
    tool.kill()
    process = counted.run(*COMMAND, "--n", "3")
    assert process.returncode == 0, process.stdout
    assert "An earlier start was killed, but its run goes on: waiting for" in process.stdout
    assert counted.ran("train") == 2
    tool.communicate()


def test_each_side_has_its_own_code_and_the_workspace_counts_without_a_commit(
    counted: Counted,
) -> None:
    old = json.loads(counted.file())
    folder = counted.project.folder
    source = folder / "stages/training/step.py"
    source.write_text(source.read_text() + "# another text, the same step\n")
    status = counted.project("git", "status", "--short")
    process = counted.run(*COMMAND[:-1], "workspace", "--n", "2")
    assert process.returncode == 0, process.stdout
    content = json.loads(counted.file())
    base, head = (content[side]["recipe"]["files"] for side in ("base", "head"))
    assert {path for path in base if base[path] != head[path]} == {"stages/training/step.py"}
    assert content["head"]["runs"] == old["head"]["runs"]
    assert counted.project("git", "status", "--short") == status
    assert counted.ran("train") == 2  # of head: other code is another run


def test_a_failing_run_is_named_with_its_side_and_its_seed(counted: Counted) -> None:
    project = counted.project
    project("git", "switch", "--quiet", "--create", "broken")
    project.set_param("train", "lr", -1)
    project("git", "commit", "--quiet", "--all", "--message=broken")
    process = counted.run(*COMMAND[:-1], "broken", "--n", "2")
    assert process.returncode == 1
    assert "\nHEAD, broken (" in process.stdout
    assert "), seed 0: failed; all that it printed is in .dvc/tmp/seeds/HEAD.log:" in process.stdout
    assert "\nparams.yaml: train.lr: must be greater than 0 (got -1)\n" in process.stdout
    assert "Traceback" not in process.stdout
    assert "BASE, main (" in process.stdout  # its first run has ended well


def test_a_run_has_a_limit(counted: Counted) -> None:
    process = counted.run(*COMMAND, "--limit", "0.001")
    assert process.returncode == 1
    assert "BASE, main (" in process.stdout
    assert "seed 0: did not end within 0.001 minutes. To go on" in process.stdout


def test_the_same_recipe_is_not_compared_with_itself(counted: Counted) -> None:
    process = counted.run(*COMMAND[:-1], "main")
    assert process.returncode == 1
    assert "hold the same files: nothing to compare" in process.stdout
    project = counted.project
    project("git", "switch", "--quiet", "--create", "dpi", "main")
    project.set_param("plot", "dpi", 50)
    project("git", "commit", "--quiet", "--all", "--message=dpi")
    process = counted.run(*COMMAND[:-1], "dpi")
    assert process.returncode == 1
    assert "BASE and HEAD train the same, with the same code, params and data" in process.stdout
    assert counted.ran("train") == 0


def test_compare_finds_the_file_and_judges_the_recipes(counted: Counted) -> None:
    project = counted.project
    compare = (sys.executable, "-m", "tools.compare")
    assert "trains both with several seeds" in project(*compare, "main", "lr")
    project("git", "add", SEEDS)
    project("git", "commit", "--quiet", "--message=seeds")
    shutil.rmtree(project.folder / ".dvc/cache")
    report = project(*compare, "main", "lr")
    assert report.startswith("**This recipe is worse: mean accuracy ")
    assert "\n\n**This network is worse: " in report
    content = json.loads(project(*compare, "main", "lr", "--json"))
    assert content["recipes"]["seeds"]["verdict"] == "worse"
    assert content["recipes"]["seeds"]["sentence"] in report
    process = project.run(*compare, "main", "lr", "--fail-on-regression")
    assert process.returncode == 1
    assert "--fail-on-regression: This recipe is worse: mean accuracy" in process.stdout

    for name in ("params.yaml", "dvc.lock"):
        path = project.folder / name
        path.write_text(path.read_text().replace("lr: 0.0001", "lr: 0.0002"))
    report = project(*compare, "main")
    assert "`evidence/seeds.json` is of other recipes. Its head differs in `train.lr`.\n" in report
