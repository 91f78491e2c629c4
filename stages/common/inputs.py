"""What a stage has read: its params, its code, its input files. Is it still the same at its end?

DVC hashes them when a stage has ended. So it would record an edit that came while the stage ran,
and give the results to whoever asks for that edit. A stage therefore looks again at its end, and
fails if something is not as it was read: then DVC records nothing.
"""

import sys
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path

from stages.common import files
from stages.common.errors import UserError

State = Mapping[str, object]  # a value or a digest, by a name that says what it is of

ROOT = Path(__file__).parents[2]

_looks: list[tuple[Callable[[], State], State]] = []  # how to look again, what was there


def _digests_of_code() -> dict[str, str]:
    return {
        path.relative_to(ROOT).as_posix(): files.sha256(path.read_bytes())
        for path in ROOT.glob("stages/**/*.py")
    }


# stages/__init__.py imports this module first, so all other code is read after this line.
_AT_START = _digests_of_code()


def code() -> dict[str, str]:
    """The SHA-256 of each module of this package that is in use, by its path, such as
    `stages/train.py`: of its file when this process started."""
    used = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    return {path: digest for path, digest in _AT_START.items() if str(ROOT / path) in used}


def read(path: Path) -> bytes:
    """The content of a file. It must be the same when the stage ends."""
    content = path.read_bytes()
    digest = files.sha256(content)
    _looks.append((lambda: {str(path): files.sha256(path.read_bytes())}, {str(path): digest}))
    return content


def remember(look: Callable[[], State]) -> None:
    """What `look` gives must be the same when the stage ends."""
    _looks.append((look, look()))


def guarded(main: Callable[[], None]) -> Callable[[], None]:
    """The `main` of a stage. At its end it refuses what has changed since it was read."""

    @wraps(main)
    def with_a_look_back() -> None:
        _looks[:] = [(_digests_of_code, code())]
        main()
        refuse_changes()

    return with_a_look_back


def refuse_changes() -> None:
    """Look again at all that the stage has read.

    Raises:
        UserError: something has changed; the message says what.
    """
    changed: dict[str, None] = {}  # an ordered set
    for look, before in _looks:
        try:
            now = look()
        except UserError as error:  # such as params that are not YAML any more
            changed[str(error)] = None
        except OSError:  # such as a file that is gone
            changed |= dict.fromkeys(before)
        else:
            changed |= dict.fromkeys(name for name in before if now.get(name) != before[name])
    if changed:
        raise UserError(
            f"{', '.join(changed)}: changed after this stage had read it. DVC would record it as"
            " what gave these results, so the stage fails. Undo the change, or keep it; then run"
            " `dvc repro` again. To edit during a run, start it with `dvc exp run --temp`"
        )
