"""What a commit says that a machine computes: the digest of each output, by architecture.

dvc.lock is of x86-64. On another architecture the digests are those of dvc.ARCHITECTURE.json, if
the commit has one. That file says with which parameters they were computed, and how.
"""

from collections.abc import Mapping
from functools import reduce
from operator import getitem
from pathlib import Path

from ruamel.yaml import YAML

from stages.common.errors import UserError
from stages.common.params import Params
from tools.pipeline import LOCK, Lock

LOCKED = "x86_64"  # no other file speaks for it


class Claim(Params):
    """What an architecture computes."""

    made: str  # how and on what, in words
    params: dict[str, int | float | str]  # those that differ from params.yaml, as in `-S`
    outputs: dict[str, str]  # path to MD5, as in dvc.lock


def read(folder: Path, architecture: str) -> tuple[str, Claim]:
    """What the commit in `folder` says that this architecture computes, and the name of the file
    that says it: a file of its own, or else dvc.lock.

    Raises:
        UserError: that file is damaged.
    """
    path = folder / f"dvc.{architecture}.json"
    if architecture == LOCKED or not path.exists():
        return LOCK, Claim(made="", params={}, outputs=read_digests(folder))
    try:
        return path.name, Claim.model_validate_json(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path.name}: {str(error).splitlines()[0]}; see tools/claims.py") from None


def read_digests(folder: Path) -> dict[str, str]:
    """The path of each output to its MD5, as in dvc.lock."""
    return Lock.parse((folder / LOCK).read_bytes()).outputs


def describe(claim: Claim) -> str:
    """`They are of a run with train.epochs=1 (emulated by ...)`."""
    params = ", ".join(f"{key}={value}" for key, value in claim.params.items())
    return f"They are of a run with {params or 'the same parameters'} ({claim.made})"


def set_params(path: Path, values: Mapping[str, object]) -> None:
    """Change values of params.yaml. A key is like `train.epochs`."""
    editor = YAML()  # keeps the comments
    content = editor.load(path.read_text(encoding="utf-8"))
    for key, value in values.items():
        *groups, name = key.split(".")
        reduce(getitem, groups, content)[name] = value
    with path.open("w", encoding="utf-8") as file:
        editor.dump(content, file)
