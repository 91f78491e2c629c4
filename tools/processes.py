"""Start a Python program, and end it with all that it started."""

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path

import psutil


def run_python(
    *arguments: str,
    folder: Path | None = None,
    variables: Mapping[str, str] = {},
    log: Path | None = None,
    seconds: float | None = None,
) -> int:
    """Run this Python with these arguments and extra environment variables; return its exit status.
    It comes first on PATH, so DVC runs the stages with it. What it prints goes to `log`, if given.

    If this process ends early, the child and all its children are killed.

    Raises:
        TimeoutExpired: it took more than so many `seconds`, and was killed.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # In a group of its own, Ctrl-C at the terminal does not reach it: this process ends it.
    with (
        log.open("wb") if log else nullcontext() as output,
        subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env=os.environ | {"PATH": path} | {**variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if log else None,
            process_group=0,
        ) as process,
    ):
        try:
            return process.wait(seconds)
        finally:
            if process.poll() is None:
                kill(psutil.Process(process.pid))


def kill(process: psutil.Process) -> None:
    """Kill a process and all that it started: killing DVC alone would leave the stage that it runs.
    Each is suspended first, so that it starts no other meanwhile."""
    with suppress(psutil.NoSuchProcess):
        process.suspend()
        for child in process.children():
            kill(child)
        process.kill()
