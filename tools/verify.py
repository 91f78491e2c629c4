"""Check that this machine computes what a commit's dvc.lock says.

    python -m tools.verify [REVISION]

Reads the repository; writes nothing into it. The whole pipeline runs in a scratch copy of the
commit, and the digest of each output is compared with the committed one. Prints a row for each
output, then the CPU and PyTorch. Exits with 0 if all digests are the same, with 1 otherwise.

dvc.lock is of x86-64. On another architecture the digests are those of dvc.ARCHITECTURE.json, if
the commit has one. That file says with which parameters they were computed, and how.
"""

import json
import os
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from operator import getitem
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from ruamel.yaml import YAML

from stages.common.errors import UserError, run
from stages.common.params import Params
from stages.model import numerics
from tools import machine
from tools.pipeline import DATA, LOCK, Lock, locate, run_python
from tools.repository import PARAMS, git, git_text, resolve
from tools.terminal import columns

CACHE = ".dvc/cache/files/md5"
FOLDER = ".dir"  # ends the digest of a folder
ABSENT = "-"  # in place of a digest


class Claim(Params):
    """What an architecture computes."""

    made: str  # how and on what, in words
    params: dict[str, int | float | str]  # those that differ from params.yaml, as in `-S`
    outputs: dict[str, str]  # path to MD5, as in dvc.lock


class Row(NamedTuple):
    """What became of an output, or of a file in a folder that is one."""

    name: str
    expected: str  # MD5 of the content, as in dvc.lock
    got: str


def main() -> None:
    """Copy, run, compare, report."""
    parser = ArgumentParser(
        prog="python -m tools.verify",
        description="Check that this machine computes what a commit's dvc.lock says.",
    )
    parser.add_argument(
        "revision", nargs="?", default="HEAD", help="commit, tag, branch or experiment"
    )
    args = parser.parse_args()
    revision = resolve(args.revision)
    if revision.commit is None:
        raise UserError("only a commit can be verified, not the workspace: commit it first")
    print(f"Verifying {revision} in a scratch copy", flush=True)
    if git_text("--no-optional-locks", "status", "--porcelain"):  # it would write the index
        print("Note: the committed files are verified, not the workspace's changes", flush=True)

    with TemporaryDirectory(prefix="verify-") as scratch:
        copy = check_out(revision.commit, Path(scratch))
        name, claim = read_claim(copy, numerics.ARCHITECTURE)
        if claim.made:
            print(f"Its {name} has digests for this machine. {describe(claim)}", flush=True)
        set_params(copy / PARAMS, claim.params)
        repro(copy)
        expected, got = claim.outputs, read_digests(copy)
        rows = list(compare(expected, got, Path(CACHE), copy / CACHE))

    different = sum(expected.get(path) != got.get(path) for path in expected | got)
    print("", table(rows), "", verdict(different, len(expected | got), name), sep="\n")
    print(conditions())
    sys.exit(1 if different else 0)


def check_out(commit: str, scratch: Path) -> Path:
    """A clone at that commit, with an empty DVC cache of its own. From another cache DVC would take
    the results of earlier runs instead of running. A wrong output of this run stays out of it."""
    copy = scratch / "copy"
    git("clone", "--quiet", "--shared", "--no-checkout", ".", str(copy))
    git("checkout", "--quiet", "--detach", commit, folder=copy)
    if not (copy / LOCK).exists():
        raise UserError(f"{commit}: has no {LOCK}, so there is nothing to verify")
    (copy / ".dvc/config.local").write_text("[cache]\n    dir = cache\n", encoding="utf-8")
    return copy


def read_claim(folder: Path, architecture: str) -> tuple[str, Claim]:
    """What the commit says that this architecture computes, and the name of the file that says it:
    a file of its own, or else dvc.lock.

    Raises:
        UserError: that file is damaged.
    """
    path = folder / f"dvc.{architecture}.json"
    if not path.exists():
        return LOCK, Claim(made="", params={}, outputs=read_digests(folder))
    try:
        return path.name, Claim.model_validate_json(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path.name}: {str(error).splitlines()[0]}; see tools/verify.py") from None


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


def repro(copy: Path, **variables: str) -> None:
    """Run all stages, up to date or not, with these environment variables. What the libraries
    leave behind goes into the scratch folder. The MNIST files of the workspace, if it has them,
    are the first source; the download stage checks them as it checks any other.

    Raises:
        UserError: a stage failed, and has said why.
    """
    scratch = copy.parent
    environment = {"TMPDIR": str(scratch), "DVC_SITE_CACHE_DIR": str(scratch / "site")}
    data = locate(DATA).absolute()
    if data.exists():
        environment["MNIST_DIR"] = os.environ.get("MNIST_DIR") or str(data)
    if run_python("-m", "dvc", "repro", "--force", folder=copy, **environment, **variables):
        raise UserError("the pipeline failed, as shown above: nothing to compare")


def read_digests(folder: Path) -> dict[str, str]:
    """The path of each output to its MD5, as in dvc.lock."""
    return Lock.parse((folder / LOCK).read_bytes()).outputs


def compare(
    expected: dict[str, str], got: dict[str, str], expected_cache: Path, got_cache: Path
) -> Iterator[Row]:
    """A row for each output, and one for each file that differs in a folder, where the cache
    still lists what the folder held."""
    for path in expected | got:
        row = Row(path, expected.get(path, ABSENT), got.get(path, ABSENT))
        yield row
        before, after = list_folder(expected_cache, row.expected), list_folder(got_cache, row.got)
        if before and after:
            for name in sorted(before | after):
                if before.get(name) != after.get(name):
                    yield Row(f"  {name}", before.get(name, ABSENT), after.get(name, ABSENT))


def list_folder(cache: Path, digest: str) -> dict[str, str]:
    """Name and MD5 of each file in the folder with this digest; empty if the cache lacks it."""
    listing = cache / digest[:2] / digest[2:]
    if not digest.endswith(FOLDER) or not listing.exists():
        return {}
    return {entry["relpath"]: entry["md5"] for entry in json.loads(listing.read_bytes())}


def table(rows: Sequence[Row]) -> str:
    """One line a row, under a heading. A folder's digest is that of the list of its files."""
    cells = [["Artifact", "Expected", "Got", "Same"]]
    cells += [
        [
            name + "/" if expected.endswith(FOLDER) else name,
            expected.removesuffix(FOLDER),
            got.removesuffix(FOLDER),
            "yes" if expected == got else "NO",
        ]
        for name, expected, got in rows
    ]
    return columns(cells, "<<<<")


def verdict(different: int, n: int, name: str = LOCK) -> str:
    """The outcome in one line; `name` is the file with the expected digests."""
    if different:
        return f"{different} of {n} artifacts differ: {name} is not what this machine computes"
    return f"All {n} artifacts are the same"


def conditions() -> str:
    """What the digests were computed on, and the settings of the arithmetic in this workspace."""
    difference = numerics.pin()
    settings = (f"  {name}={os.environ.get(name, '')}" for name in numerics.SETTINGS)
    return "\n".join(
        [
            f"CPU: {machine.cpu()}",
            f"PyTorch {torch.__version__}, running {torch.backends.cpu.get_cpu_capability()} code;"
            f" {machine.system()}",
            *(
                [f"Note: the last bits may differ from dvc.lock: {difference}"]
                if difference
                else []
            ),
            "Settings:",
            *settings,
        ]
    )


if __name__ == "__main__":
    run(main)
