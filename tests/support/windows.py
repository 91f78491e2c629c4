"""Run a module of the project with what Windows has, on Linux.

    python -m tests.support.windows stages.plot ARGUMENTS

The code in stages/ and tools/ does not find modules and functions that Windows lacks, and cannot
open a folder. Libraries keep them: their code for Windows does without. For all code, as on
Windows, a file that is open or mapped into memory is neither replaced nor removed, and one that is
locked is neither read nor written. Text has the encoding cp1252 and lines that end with CR LF,
unless the program says otherwise. The processes that the module starts are not affected.
"""

import builtins
import errno
import importlib
import io
import os
import runpy
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

FOLDERS = [Path(__file__).parents[2] / name for name in ("stages", "tools")]
MODULES = {
    "fcntl",
    "grp",
    "posix",
    "pty",
    "pwd",
    "readline",
    "resource",
    "syslog",
    "termios",
    "tty",
}
NAMES = {
    "os": {
        "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "WNOHANG", "chown", "fchmod", "fork", "getegid",
        "geteuid", "getgid", "getloadavg", "getpgid", "getpgrp", "getuid", "killpg", "mkfifo",
        "nice", "posix_spawn", "sched_getaffinity", "sched_setaffinity", "setpgid", "setsid",
        "sync", "sysconf", "uname", "wait", "wait4",
    },
    "signal": {
        "SIGALRM", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGSTOP", "SIGTSTP",
        "SIGUSR1", "SIGUSR2", "alarm", "pause", "pthread_sigmask", "setitimer", "sigwait",
    },
}  # fmt: skip
OPEN = open  # that of Linux


def take_away() -> None:
    """From now on, this process has what Windows has."""
    lesser = {name: without(importlib.import_module(name), names) for name, names in NAMES.items()}
    vars(lesser["os"])["open"] = open_a_file
    usual = builtins.__import__

    def find(
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 - __import__ names it so
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        file = Path((globals or {}).get("__file__") or "")
        if any(file.is_relative_to(folder) for folder in FOLDERS):
            if name in MODULES:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            if name in lesser:
                return lesser[name]
        return usual(name, globals, locals, fromlist, level)

    builtins.__import__ = find
    builtins.open = io.open = opening(OPEN)
    for name in ("remove", "rename", "replace", "unlink"):
        setattr(os, name, sparing_files_in_use(getattr(os, name)))


def without(module: ModuleType, names: set[str]) -> ModuleType:
    """A copy of a module that lacks these names."""
    assert names <= vars(module).keys()
    copy = ModuleType(module.__name__)
    vars(copy).update({name: value for name, value in vars(module).items() if name not in names})
    return copy


def open_a_file(path: Path, *arguments: Any, **options: Any) -> int:  # noqa: ANN401 - passed on
    """In place of `os.open`."""
    if Path(path).is_dir():
        raise refusal(path)
    return os.open(path, *arguments, **options)


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
    mapped = {line.split(maxsplit=5)[-1] for line in proc("self/maps")}
    opened = set()
    for link in Path("/proc/self/fd").iterdir():
        if link.is_symlink():  # the folder itself was open for this loop
            opened.add(str(link.readlink()))
    return str(path) in mapped | opened


def is_locked(path: Path) -> bool:
    """Whether any process has locked the file."""
    locked = [int(lock.split()[5].rsplit(":")[-1]) for lock in proc("locks") if "->" not in lock]
    return path.stat().st_ino in locked


def proc(name: str) -> list[str]:
    """The lines of a file in /proc."""
    with OPEN(f"/proc/{name}", encoding="utf-8") as file:
        return [line.rstrip("\n") for line in file]


def refusal(path: object) -> PermissionError:
    """What Windows says."""
    return PermissionError(errno.EACCES, "The process cannot access the file", str(path))


if __name__ == "__main__":
    take_away()
    _, module, *arguments = sys.argv
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
