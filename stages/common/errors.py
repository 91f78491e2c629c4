"""How a stage ends when the user made a mistake: one line, no traceback, a non-zero exit."""

import gc
import os
import signal
import sys
from collections.abc import Callable
from io import TextIOWrapper
from types import FrameType


class UserError(Exception):
    """A problem that the user can solve. The message names the file, the value, and what to do."""


def printable(text: str) -> str:
    """The text on one line, with escapes in place of what could control a terminal."""
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )


def run(main: Callable[[], None]) -> None:
    """Call `main`. If it raises a UserError, print the message on stderr and exit with 1.

    Ctrl-C (SIGINT) exits with 130 and SIGTERM with 143, because DVC takes 0 for success. Each
    printed line is written at once, also into a pipe or a log, so that a killed process leaves no
    line unprinted. A character that the output's encoding lacks is printed as an escape, as on
    stderr: a pipe on Windows knows only a few hundred.

    What was imported stays until the end, so the garbage collector need not look at it again. With
    PyTorch, a process then ends half a second earlier.
    """
    gc.freeze()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    try:
        main()
    except UserError as error:
        sys.exit("\n".join(map(printable, str(error).split("\n"))))
    except BrokenPipeError:  # whoever read the output has ended, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the last flush
        sys.exit(1)
    except OSError as error:
        if error.filename is None:
            raise
        sys.exit(printable(f"{error.filename}: {error.strerror}"))


def _end(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)
