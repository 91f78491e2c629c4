"""Training is killed at any moment, alone or with DVC. The next run gives the bytes of a run that
was never killed."""

import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import faults, runner, tiny
from tests.support.project import DVC, Project, wait_for

if sys.platform == "win32":
    pytest.skip("Windows has none of these signals", allow_module_level=True)

ARGUMENTS = runner.STAGES["train"]["cmd"].split()[3:]


def remove_outputs(folder: Path) -> None:
    """DVC does this before it runs the stage."""
    for name in ("models/model.safetensors", "models/first_images.idx", "metrics/history.csv"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "models/checkpoints", ignore_errors=True)


def finish(folder: Path) -> str:
    """Train to the end, as DVC would start it; what was printed."""
    remove_outputs(folder)
    process = faults.start(folder, ARGUMENTS)
    process.join()
    output = (folder / "log").read_text()
    assert process.exitcode == 0, output
    return output


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which training was never killed: two epochs."""
    folder = tmp_path_factory.mktemp("whole")
    tiny.write(folder / runner.DATA)
    train = {"epochs": 2, "batch_size": 20, "lr": 0.05, "log_every": 30}
    runner.write_params(folder, train=train | tiny.RECIPE)
    finish(folder)
    return folder


@pytest.fixture
def workspace(whole: Path, tmp_path: Path) -> Path:
    """The same workspace before the training."""
    shutil.copytree(whole / "data", tmp_path / "data")
    shutil.copy(whole / "params.yaml", tmp_path)
    return tmp_path


@pytest.mark.slow
def test_killed_at_each_step_of_saving(whole: Path, workspace: Path) -> None:
    resumed = 0
    moments = random.Random(1)  # noqa: S311
    for step in range(1, 1000):
        remove_outputs(workspace)
        process = faults.start(workspace, ARGUMENTS, die_at=step)
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        if step % 4 == 0:  # killed once more while it resumes
            remove_outputs(workspace)
            faults.start(workspace, ARGUMENTS, die_at=moments.randint(1, 30)).join()
        resumed += "Resuming after epoch" in finish(workspace)
        assert runner.training_digests(workspace) == runner.training_digests(whole)
    assert step > 40  # each epoch: history, checkpoint, tensors, run.json; then the model
    assert resumed > step / 3


@pytest.mark.slow
def test_killed_at_thirty_random_moments(whole: Path, workspace: Path) -> None:
    moments = random.Random(2)  # noqa: S311
    started = time.monotonic()
    finish(workspace)
    usual = time.monotonic() - started
    resumed = killed = 0
    while killed < 30:
        remove_outputs(workspace)
        process = faults.start(workspace, ARGUMENTS)
        process.join(moments.uniform(0, usual))
        process.kill()
        process.join()
        log = workspace / "log"
        resumed += log.exists() and "Resuming after epoch" in log.read_text()
        if process.exitcode == 0:
            assert runner.training_digests(workspace) == runner.training_digests(whole)
        else:
            killed += 1
    finish(workspace)
    assert runner.training_digests(workspace) == runner.training_digests(whole)
    assert resumed > 0


def start_dvc(project: Project, shell: str = "/bin/sh") -> subprocess.Popen[str]:
    """`dvc repro --force` of the training, in a process group of its own as at a terminal."""
    return subprocess.Popen(
        [DVC, "repro", "--force", "--single-item", "train"],
        cwd=project.folder,
        env=project.environment() | {"SHELL": shell},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def trainer(project: Project) -> int:
    """The process that trains."""
    return int((project.folder / ".progress/process").read_text())


def assert_the_next_repro_resumes(project: Project) -> None:
    assert project("git", "diff", "dvc.lock") == ""
    output = project("dvc", "repro", "train")
    assert "Resuming after epoch" in output
    assert project("git", "status", "--short") == ""
    assert not (project.folder / ".progress").exists()


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGKILL, "-9|137"),
        pytest.param(signal.SIGINT, "130", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, "143", marks=pytest.mark.slow),
    ],
)
def test_the_trainer_killed_in_its_third_epoch(slow: Project, number: int, code: str) -> None:
    dvc = start_dvc(slow)
    wait_for(dvc, "[Epoch: 3")
    os.kill(trainer(slow), number)
    output, _ = dvc.communicate()
    assert dvc.returncode != 0
    assert re.search(f"exited with ({code})$", output, re.MULTILINE)
    assert "Traceback" not in output
    assert_the_next_repro_resumes(slow)


@pytest.mark.slow
def test_ctrl_c_at_the_terminal(slow: Project) -> None:
    dvc = start_dvc(slow)
    wait_for(dvc, "[Epoch: 3")
    os.killpg(dvc.pid, signal.SIGINT)
    dvc.communicate()
    assert dvc.returncode != 0
    assert_the_next_repro_resumes(slow)


@pytest.mark.slow
def test_dvc_and_the_trainer_killed(slow: Project) -> None:
    dvc = start_dvc(slow)
    wait_for(dvc, "[Epoch: 3")
    os.killpg(dvc.pid, signal.SIGKILL)
    dvc.communicate()
    assert_the_next_repro_resumes(slow)


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])  # dash stays in between, bash does not
def test_dvc_killed_while_the_trainer_lives(slow: Project, shell: str) -> None:
    dvc = start_dvc(slow, shell)
    wait_for(dvc, "[Epoch: 2")
    first = trainer(slow)
    os.kill(first, signal.SIGSTOP)  # so that the second one finds it
    dvc.kill()
    dvc.wait()
    process = slow.run("dvc", "repro", "train")
    assert process.returncode != 0
    assert f".progress: process {first} is training here; wait until" in process.stdout
    os.kill(first, signal.SIGCONT)
    dvc.communicate()  # returns when the trainer ends, which holds the pipe open
    assert_the_next_repro_resumes(slow)


def change_params(folder: Path) -> None:
    runner.write_params(folder, train={"epochs": 2, "batch_size": 20, "lr": 0.04, "log_every": 30})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda _: None, "Resuming after epoch 1"),
        (change_params, "it is of a run with other params"),
        (runner.change_data, "it is of a run with other data"),
        (runner.change_code, "it is of a run with other code"),
    ],
)
def test_another_run_starts_afresh(
    workspace: Path, change: Callable[[Path], None], said: str
) -> None:
    faults.start(workspace, ARGUMENTS, die_at=40).join()  # in the second epoch
    shutil.copytree(runner.ROOT / "stages", workspace / "stages")
    change(workspace)
    command = [sys.executable, "-m", "stages.train", *ARGUMENTS]
    process = subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=True)
    assert said in process.stdout
    assert process.stdout.count("Starting afresh: ") == ("Resuming" not in said)


def test_a_full_disk_stops_no_training(whole: Path, workspace: Path) -> None:
    """The limit on a file's size lets checkpoints pass. A file of progress holds the momentum too,
    and is too large."""
    command = [sys.executable, "-m", "stages.train", *ARGUMENTS]
    process = subprocess.run(
        command,
        cwd=workspace,
        env={**os.environ, "PYTHONPATH": str(runner.ROOT)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, 120_000)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "Warning: no more progress is kept: .progress/epoch-01.safetensors" in process.stderr
    assert runner.training_digests(workspace) == runner.training_digests(whole)
