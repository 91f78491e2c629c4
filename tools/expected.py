"""What a commit says that a machine computes: the digest of each output, by architecture.

dvc.lock is of x86-64. On another architecture the digests are those of dvc.ARCHITECTURE.json, if
the commit has one. That file says with which parameters they were computed, and on what.
"""

from pathlib import Path

from stages.common.errors import UserError
from stages.common.params import Params
from tools.dvc_files import LOCK, Lock


class Expected(Params):
    """What an architecture computes."""

    computed_on: str  # in words; empty if it is dvc.lock
    params: dict[str, int | float | str]  # those that differ from params.yaml, as in `-S`
    outputs: dict[str, str]  # path to MD5, as in dvc.lock


def read(folder: Path, architecture: str) -> tuple[str, Expected]:
    """What the commit in `folder` says that this architecture computes, and the name of the file
    that says it: a file of its own, or else dvc.lock. For x86-64 only dvc.lock speaks.

    Raises:
        UserError: that file is damaged.
    """
    path = folder / f"dvc.{architecture}.json"
    if architecture == "x86_64" or not path.exists():
        return LOCK, Expected(computed_on="", params={}, outputs=read_digests(folder))
    try:
        return path.name, Expected.model_validate_json(path.read_bytes())
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path.name}: {reason}; see tools/expected.py") from None


def read_digests(folder: Path) -> dict[str, str]:
    """The path of each output to its MD5, as in dvc.lock."""
    return Lock.parse((folder / LOCK).read_bytes()).outputs
