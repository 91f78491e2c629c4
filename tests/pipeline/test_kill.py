"""Training is killed at any moment, alone or with DVC. The next run gives the bytes of a run that
was never killed."""

import io
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch._dynamo  # noqa: F401 - the first step of SGD imports it: here once, for all forks

from stages import train
from stages.common.errors import run
from tests.support import runner, tiny
from tests.support.project import DVC, Project, wait_for

if sys.platform == "win32":
    pytest.skip("Windows has no fork and none of these signals", allow_module_level=True)

ARGUMENTS = runner.STAGES["train"]["cmd"].split()[3:]
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__])


def start(folder: Path, *, die_at: int = 0) -> BaseProcess:
    """Train in `folder`, in a fork of a server process that has imported the trainer: so dozens of
    trainings take seconds. What is printed goes to the file `log` there.

    With `die_at`, the process kills itself just before the step of that number, counted from 1.
    Opening a file, the second half of a write, fsync, rename and removal are each a step."""
    process = FORKS.Process(target=_train, args=(folder, die_at))
    process.start()
    return process


def _train(folder: Path, die_at: int) -> None:
    os.chdir(folder)
    sys.argv = ["stages.train", *ARGUMENTS]
    log = Path("log").open("w", buffering=1)  # noqa: SIM115 - until the process ends
    if die_at:
        _arm(die_at)
    with redirect_stdout(log), redirect_stderr(log):
        run(train.main)


def _arm(die_at: int) -> None:
    steps = iter(range(1, die_at))

    def step() -> None:
        if next(steps, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    def stepping(function: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - passed through as they are
            step()
            return function(*args, **kwargs)

        return stepped

    class HalfWriter(io.FileIO):
        def write(self, content: Any) -> int:  # noqa: ANN401 - any buffer
            half = len(content) // 2
            super().write(content[:half])
            step()
            super().write(content[half:])
            return len(content)

    opened = io.open

    def opening(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        if mode != "wb":
            return opened(path, mode, *args, **kwargs)
        step()
        return HalfWriter(path, mode)

    vars(io)["open"] = opening
    for name in ("fsync", "replace", "unlink"):
        setattr(os, name, stepping(getattr(os, name)))


def remove_outputs(folder: Path) -> None:
    """DVC does this before it runs the stage."""
    for name in ("models/model.safetensors", "models/first_images.idx", "metrics/history.csv"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "models/checkpoints", ignore_errors=True)


def finish(folder: Path) -> str:
    """Train to the end, as DVC would start it; what was printed."""
    remove_outputs(folder)
    process = start(folder)
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
        process = start(workspace, die_at=step)
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        if step % 4 == 0:  # killed once more while it resumes
            remove_outputs(workspace)
            start(workspace, die_at=moments.randint(1, 30)).join()
        resumed += "Resuming after epoch" in finish(workspace)
        assert runner.training_digests(workspace) == runner.training_digests(whole)
    assert step > 30  # each epoch: history, checkpoint, progress; then the model
    assert resumed > step / 3


@pytest.fixture
def training(slow: Project) -> Iterator[subprocess.Popen[str]]:
    """`dvc repro --force` in its third epoch, in a process group of its own as at a terminal."""
    process = subprocess.Popen(
        [DVC, "repro", "--force", "--single-item", "train"],
        cwd=slow.folder,
        env=slow.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    wait_for(process, "[Epoch: 3")
    yield process
    for child in trainer(process):
        child.kill()
    process.kill()


def trainer(dvc: subprocess.Popen[str]) -> list[psutil.Process]:
    """The process that trains, if it does."""
    children = psutil.Process(dvc.pid).children(recursive=True) if dvc.poll() is None else []
    return [child for child in children if "stages.train" in child.cmdline()][-1:]


def assert_the_next_repro_resumes(project: Project) -> None:
    assert project("git", "diff", "dvc.lock") == ""
    output = project("dvc", "repro", "train")
    assert "Resuming after epoch" in output
    assert project("git", "status", "--short") == ""
    assert [path.name for path in (project.folder / ".progress").iterdir()] == ["lock"]


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGKILL, "-9|137"),
        pytest.param(signal.SIGTERM, "143", marks=pytest.mark.slow),
    ],
)
def test_the_trainer_is_killed(
    slow: Project, training: subprocess.Popen[str], number: int, code: str
) -> None:
    (process,) = trainer(training)
    process.send_signal(number)
    output, _ = training.communicate()
    assert training.returncode != 0
    assert re.search(f"exited with ({code})$", output, re.MULTILINE)
    assert "Traceback" not in output
    assert_the_next_repro_resumes(slow)


def test_ctrl_c_at_the_terminal(slow: Project, training: subprocess.Popen[str]) -> None:
    os.killpg(training.pid, signal.SIGINT)
    output, _ = training.communicate()
    assert training.returncode != 0
    # DVC runs a stage in $SHELL or /bin/sh. Some shells end by the signal, others give the
    # trainer's 130 on.
    assert re.search("exited with (-2|130)$", output, re.MULTILINE)
    assert "Stopped. .progress keeps each finished epoch: " in output
    assert_the_next_repro_resumes(slow)


@pytest.mark.slow
def test_dvc_and_the_trainer_are_killed(slow: Project, training: subprocess.Popen[str]) -> None:
    os.killpg(training.pid, signal.SIGKILL)
    training.communicate()
    assert_the_next_repro_resumes(slow)


@pytest.mark.slow
def test_dvc_is_killed_and_the_trainer_lives(
    slow: Project, training: subprocess.Popen[str]
) -> None:
    """DVC records nothing then, so the next run trains again. It gives the same bytes."""
    (orphan,) = trainer(training)
    orphan.suspend()  # so that the second one finds it
    training.kill()
    training.wait()
    process = slow.run("dvc", "repro", "train")
    assert process.returncode != 0
    assert ".progress: another process is training here; wait until" in process.stdout
    orphan.resume()
    training.communicate()  # returns when the trainer ends, which holds the pipe open
    output = slow("dvc", "repro", "train")
    assert "Training has finished" in output
    assert slow("git", "status", "--short") == ""
