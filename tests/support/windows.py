"""Run a module of the project with what Windows has, on Linux.

    python -m tests.support.windows stages.plot ARGUMENTS

A file that is open or mapped into memory is neither replaced nor removed, and one that is locked is
not opened. No folder is synced. Text has the encoding cp1252 and lines that end with CR LF, unless
the program says otherwise. Calls that Windows lacks are found by mypy (`make check`); here only
those are away for which the project asks. The processes that the module starts are not affected.
"""

import builtins
import errno
import io
import os
import runpy
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

OPEN = open  # that of Linux


def take_away() -> None:
    """From now on, this process has what Windows has."""
    for name in ("O_DIRECTORY", "sched_getaffinity"):
        delattr(os, name)
    vars(os)["fsync"] = sparing_folders(os.fsync)
    builtins.open = io.open = opening(OPEN)
    for name in ("remove", "rename", "replace", "unlink"):
        setattr(os, name, sparing_files_in_use(getattr(os, name)))


def sparing_folders(usual: Callable[[int], None]) -> Callable[[int], None]:
    """In place of `os.fsync`."""

    def synced(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise refusal(descriptor)
        usual(descriptor)

    return synced


def opening(usual: Callable[..., Any]) -> Callable[..., Any]:
    """In place of `open`."""

    def opened(
        file: Any,  # noqa: ANN401 - a path or the number of an open file
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        *more: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        if not isinstance(file, int) and Path(file).is_file() and is_locked(Path(file)):
            raise refusal(file)
        if "b" not in mode:
            encoding = "cp1252" if encoding in {None, "locale"} else encoding
            newline = "\r\n" if newline is None and "r" not in mode else newline
        return usual(file, mode, buffering, encoding, errors, newline, *more)

    return opened


def sparing_files_in_use(usual: Callable[..., None]) -> Callable[..., None]:
    """In place of a function that takes the name of a file away, or gives it to another."""

    def changed(*paths: Any, dir_fd: int | None = None, **options: Any) -> None:  # noqa: ANN401
        folder = "" if dir_fd is None else Path(f"/proc/self/fd/{dir_fd}").readlink()
        for path in paths:
            if is_in_use(Path(folder, os.fsdecode(path)).absolute()):
                raise refusal(path)
        usual(*paths, **options if dir_fd is None else options | {"dir_fd": dir_fd})

    return changed


def is_in_use(path: Path) -> bool:
    """Whether this process has the file open or mapped."""
    process = psutil.Process()
    if sys.platform == "darwin":  # psutil has no maps there, and nobody simulates Windows there
        raise NotImplementedError
    opened = {file.path for file in process.open_files()}
    return str(path) in opened | {file.path for file in process.memory_maps()}


def is_locked(path: Path) -> bool:
    """Whether any process has locked the file."""
    with OPEN("/proc/locks", encoding="utf-8") as file:
        locks = [line.split() for line in file if "->" not in line]  # `->` waits for a lock
    return str(path.stat().st_ino) in [lock[5].rpartition(":")[2] for lock in locks]


def refusal(file: object) -> PermissionError:
    """What Windows says."""
    return PermissionError(errno.EACCES, "The process cannot access the file", str(file))


if __name__ == "__main__":
    take_away()
    _, module, *arguments = sys.argv
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
