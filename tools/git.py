"""The git repository of the working directory: its revisions, and the files in them.

A commit's files are read through git, so no DVC cache, no remote and no checkout is needed.
"""

import io
import os
import re
import subprocess
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from posixpath import normpath
from typing import TypeVar

from stages.common.errors import UserError
from tools.yaml_files import DAMAGED

PIPELINE, PARAMS, REQUIREMENTS = "dvc.yaml", "params.yaml", "requirements.txt"
HAND_WRITTEN = {PIPELINE, PARAMS, REQUIREMENTS}  # `dvc repro` writes all other files that are read

REPAIR = (
    "no stage writes this file: repair it, run this in the project's folder, or choose another"
    " revision"
)

Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class Revision:
    """What the user named, and the commit that it is."""

    name: str
    commit: str | None  # 40 hexadecimal digits; None is the workspace

    def __str__(self) -> str:
        """`main (a2615cf)`."""
        if self.commit is None:
            return self.name
        short = self.commit[:7]
        return short if self.commit.startswith(self.name) else f"{self.name} ({short})"


WORKSPACE = Revision("workspace", None)


def add_revisions(parser: ArgumentParser, workspace: str) -> None:
    """Add BASE and HEAD. `workspace` says what HEAD is by default."""
    parser.add_argument("base", metavar="BASE", help="a git revision or an experiment")
    parser.add_argument(
        "head",
        metavar="HEAD",
        nargs="?",
        default=WORKSPACE.name,
        help=f"another one (default: {workspace})",
    )


def git(*arguments: str, stdin: bytes = b"", folder: Path | None = None) -> bytes:
    """What a git command prints.

    Raises:
        UserError: it failed. The message is what git said, on one line.
    """
    command = ["git", *arguments]
    try:
        process = subprocess.run(command, cwd=folder, input=stdin, capture_output=True, check=False)
    except ValueError as error:  # no system has such a name
        raise UserError(f"git: {' '.join(arguments)}: {error}") from None
    if process.returncode:
        raise UserError(f"git: {_one_line(process.stderr.decode(errors='replace'))}")
    return process.stdout


def git_text(*arguments: str) -> str:
    """The same as text, without white space around it."""
    return git(*arguments).decode(errors="replace").strip()


def resolve(name: str) -> Revision:
    """The workspace, a git revision, or an experiment of DVC, in this order.

    Raises:
        UserError: there is no such revision, more than one, or no repository.
    """
    if name == WORKSPACE.name:
        return WORKSPACE
    commit = _commit(name) or _experiment(name)
    if commit is None:
        raise UserError(
            f"{name!r} is neither a git revision nor an experiment; `git branch --all` and"
            " `dvc exp list --all-commits` list them"
        )
    return Revision(name, commit)


def _commit(name: str) -> str | None:
    """The commit that git knows by this name, which may look like an option."""
    question = os.fsencode(f"{name}^{{commit}}\n")
    answer = git("cat-file", "--batch-check=%(objectname)", stdin=question)
    found = re.fullmatch(rb"([0-9a-f]{40,64})\n", answer)  # else `... missing` or `... ambiguous`
    return found[1].decode() if found else None


def _experiment(name: str) -> str | None:
    """The commit of the experiment with this name. DVC keeps it as refs/exps/AB/CDEF.../NAME,
    where ABCDEF... is the commit that it started from. Of several with one name it takes the one
    that started from HEAD, and so does this function.

    Raises:
        UserError: several have this name, and none of them started from HEAD.
    """
    lines = git_text("for-each-ref", "--format=%(objectname) %(refname)", "refs/exps/??/*/*")
    parts = (re.split("[ /]", line) for line in lines.splitlines())
    experiments = {  # by the commit that they started from
        start + rest: commit for commit, _, _, start, rest, found in parts if found == name
    }
    if len(experiments) < 2:
        return next(iter(experiments.values()), None)
    here = _commit("HEAD")
    if here not in experiments:
        commits = " or ".join(commit[:7] for commit in experiments.values())
        raise UserError(f"{name}: {len(experiments)} experiments have this name; say {commits}")
    return experiments[here]


def find(revision: Revision, paths: Sequence[str]) -> dict[str, bytes]:
    """The content of each file that exists, by their path from the working directory."""
    if revision.commit is not None:
        return _find_in_commit(revision.commit, paths)
    return {path: Path(path).read_bytes() for path in paths if Path(path).is_file()}


def _find_in_commit(commit: str, paths: Sequence[str]) -> dict[str, bytes]:
    """The same from a commit. A name may hold any bytes, so git is asked by the numbers that its
    list has. `git cat-file --batch` answers each by a line that ends with the size, then the
    content and a newline."""
    listed = git("ls-tree", "-r", "-z", commit)  # `100644 blob NUMBER<tab>NAME`, from here on
    entries = (entry.partition(b"\t") for entry in listed.split(b"\0")[:-1])
    numbers = {os.fsdecode(name): entry.split()[2] for entry, _, name in entries}
    found = {path: numbers[name] for path in paths if (name := normpath(path)) in numbers}
    answers = io.BytesIO(git("cat-file", "--batch", stdin=b"\n".join([*found.values(), b""])))
    files = {}
    for path in found:
        files[path] = answers.read(int(answers.readline().split()[-1]))
        answers.readline()
    return files


def read(revision: Revision, paths: Sequence[str]) -> dict[str, bytes]:
    """The content of each file, by its path from the working directory.

    Raises:
        UserError: some are missing; the message names them and says how to make them.
    """
    files = find(revision, paths)
    missing = [path for path in paths if path not in files]
    if missing:
        raise UserError(f"{revision} lacks {', '.join(missing)}; {_remedy(revision, missing)}")
    return files


def parse(
    revision: Revision,
    files: Mapping[str, bytes],
    path: str,
    parser: Callable[[bytes], Parsed],
    remedy: str = "",
) -> Parsed:
    """One of the `files` of a revision, as `parser` reads its content. The `remedy` says what to do
    about a file that DVC does not make.

    Raises:
        UserError: `parser` raises one of DAMAGED; the message names file and reason. Or a merge
            has left a conflict there.
    """
    refuse_conflict(revision, path, files[path])
    try:
        return parser(files[path])
    except DAMAGED as error:
        reason, remedy = _one_line(str(error)), remedy or _remedy(revision, [path])
        raise UserError(f"{revision}: {path}: not as expected ({reason}); {remedy}") from None


def load(revision: Revision, path: str, parser: Callable[[bytes], Parsed]) -> Parsed:
    """A file of a revision, as `parser` reads its content.

    Raises:
        UserError: it is missing, or `parser` raises one of DAMAGED.
    """
    return parse(revision, read(revision, [path]), path, parser)


def refuse_conflict(revision: Revision, path: str, content: bytes) -> None:
    """Refuse what git writes into a file where a merge has a conflict.

    Raises:
        UserError: the content has it.
    """
    lines = content.splitlines()
    if found := [number for number, line in enumerate(lines, 1) if line.startswith(b"<<<<<<< ")]:
        raise UserError(
            f"{revision}: {path}: line {found[0]}: a merge has left a conflict here. In"
            f" {PARAMS}, {PIPELINE} and code write what shall hold; of dvc.lock and metrics take"
            " either side whole: `git checkout --ours dvc.lock metrics`. Then `dvc repro` (more:"
            " docs/sharing.md)"
        )


def parents(revision: Revision) -> list[str]:
    """The commits that a commit was made from: two or more if it is a merge."""
    if revision.commit is None:
        return []
    return git_text("rev-list", "--parents", "--max-count=1", revision.commit).split()[1:]


def _remedy(revision: Revision, paths: Sequence[str]) -> str:
    if HAND_WRITTEN & {*paths}:
        return REPAIR
    if revision.commit is None:
        return "make it with `dvc repro`"
    return f"make it: `git checkout {revision.commit[:7]} && dvc repro`, and commit what came out"


def _one_line(text: str) -> str:
    return " ".join(text.split())
