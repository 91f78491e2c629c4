"""What a commit says that a machine computes: the digest of each output, by architecture.

dvc.lock is of x86-64. On another architecture the digests are those of dvc.ARCHITECTURE.json, if
the commit has one. That file says with which parameters they were computed, and how.
"""

from pathlib import Path

from stages.common.errors import UserError
from stages.common.params import Params
from tools.dvc_files import LOCK, Lock

OF_LOCK = "x86_64"  # no other file speaks for it


class Expected(Params):
    """What an architecture computes."""

    made: str  # how and on what, in words
    params: dict[str, int | float | str]  # those that differ from params.yaml, as in `-S`
    outputs: dict[str, str]  # path to MD5, as in dvc.lock


def read(folder: Path, architecture: str) -> tuple[str, Expected]:
    """What the commit in `folder` says that this architecture computes, and the name of the file
    that says it: a file of its own, or else dvc.lock.

    Raises:
        UserError: that file is damaged.
    """
    path = folder / f"dvc.{architecture}.json"
    if architecture == OF_LOCK or not path.exists():
        return LOCK, Expected(made="", params={}, outputs=read_digests(folder))
    try:
        return path.name, Expected.model_validate_json(path.read_bytes())
    except ValueError as error:
        raise UserError(
            f"{path.name}: {str(error).splitlines()[0]}; see tools/expected.py"
        ) from None


def read_digests(folder: Path) -> dict[str, str]:
    """The path of each output to its MD5, as in dvc.lock."""
    return Lock.parse((folder / LOCK).read_bytes()).outputs


def describe(expected: Expected) -> str:
    """`They are of a run with train.epochs=1 (emulated by ...)`."""
    params = ", ".join(f"{key}={value}" for key, value in expected.params.items())
    return f"They are of a run with {params or 'the same parameters'} ({expected.made})"
