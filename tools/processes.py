"""Start a Python program, and end it with all that it started.

The program runs under a process that does nothing but watch: this file, run as a script. It imports
nothing of the project.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from threading import Event, Thread

import psutil


def run_python(
    *arguments: str,
    folder: Path | None = None,
    variables: Mapping[str, str] = {},
    log: Path | None = None,
    seconds: float | None = None,
    scratch: Path | None = None,
) -> int:
    """Run this Python with these arguments and extra environment variables; return its exit status.
    It comes first on PATH, so DVC runs the stages with it. What it prints goes to `log`, if given.

    If this process ends early, even by SIGKILL, the program and all its children are killed. Then
    the folder `scratch` is removed, if given.

    Raises:
        TimeoutExpired: it took more than so many `seconds`, and was killed.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # In a session of its own, Ctrl-C at the terminal does not reach it: this process ends it. `-P`:
    # this file's folder is not on its path, since a module there is named `statistics`.
    with (
        log.open("wb") if log else nullcontext() as output,
        subprocess.Popen(
            [sys.executable, "-P", __file__, str(scratch or ""), sys.executable, *arguments],
            cwd=folder,
            env=os.environ | {"PATH": path} | {**variables},
            stdin=subprocess.PIPE,  # it ends with this process
            stdout=output,
            stderr=subprocess.STDOUT if log else None,
            start_new_session=True,
        ) as process,
    ):
        return process.wait(seconds)


def watch(scratch: str, *command: str) -> int:
    """Run a command; return its exit status. If stdin ends before it, kill it with all that it
    started, and remove the folder `scratch`, if it has a name."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    alone = Event()

    def end() -> None:
        os.read(sys.stdin.fileno(), 1)  # nothing is ever written: it returns at the end
        alone.set()
        kill(process.pid)

    Thread(target=end, daemon=True).start()
    status = process.wait()
    if alone.is_set() and scratch:
        shutil.rmtree(scratch, ignore_errors=True)
    return status


def kill(pid: int) -> None:
    """Kill a process and all that it started: killing DVC alone would leave the stage that it runs.
    Each is suspended first, so that it starts no other meanwhile."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        process.suspend()
        for child in process.children():
            kill(child.pid)
        process.kill()


if __name__ == "__main__":
    sys.exit(watch(*sys.argv[1:]))
