"""Training in a process of its own, which is killed at a chosen step of writing files.

A server process imports the trainer once, and each training is a fork of it. So dozens of
trainings take seconds, not minutes.
"""

import io
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from stages import train
from stages.common.errors import run

if sys.platform == "win32":
    pytest.skip("Windows has no fork and no SIGKILL", allow_module_level=True)

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__])


def start(folder: Path, arguments: list[str], *, die_at: int = 0) -> BaseProcess:
    """Train in `folder`; what is printed goes to the file `log`. With `die_at`, the process kills
    itself just before the step of that number, counted from 1. Opening a file, the second half of
    a write, fsync, rename and removal are each a step."""
    process = FORKS.Process(target=_train, args=(folder, arguments, die_at))
    process.start()
    return process


def _train(folder: Path, arguments: list[str], die_at: int) -> None:
    os.chdir(folder)
    sys.argv = ["stages.train", *arguments]
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
