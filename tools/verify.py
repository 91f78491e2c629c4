"""Check that this machine computes what a commit says.

    python -m tools.verify [REVISION] [--report FILE]

Reads the repository; writes nothing into it. The whole pipeline runs in a scratch copy of the
commit, from which the committed results were removed. What comes out is compared with them: the
digest of each output, dvc.lock, and each file in git. Prints a row for each output, a line for
each value that differs, then the CPU and PyTorch. Exits with 0 if nothing differs, with 1
otherwise. On another architecture than x86-64, the digests may be in a file of their own
(tools/expected.py); then they alone are compared.
"""

import os
import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import torch

from stages.common import files
from stages.common.errors import UserError, printable, run
from stages.model import numerics
from tools import differences, expected, machine, scratch
from tools.dvc_files import LOCK, Lock, Pipeline, read_pipeline
from tools.git import PARAMS, PIPELINE, Revision, find, git, git_text, load, resolve
from tools.markdown import code
from tools.processes import run_python
from tools.terminal import columns
from tools.yaml_files import set_values


@dataclass(frozen=True)
class Outcome:
    """What came out."""

    copy: Path  # where the pipeline has run
    sentence: str
    changes: list[str]  # a line for each value that differs
    same: bool

    def report(self) -> str:
        """The same in Markdown."""
        if self.same:
            return f"Computed again from nothing: {self.sentence}.\n"
        lines = [f"- {code(change)}" for change in self.changes]
        return "\n".join([f"**Not what the code computes.** {self.sentence}.", "", *lines, ""])


def main() -> None:
    """Copy, run, compare, report."""
    parser = ArgumentParser(
        prog="python -m tools.verify",
        description="Check that this machine computes what a commit says.",
    )
    parser.add_argument(
        "revision", nargs="?", default="HEAD", help="commit, tag, branch or experiment"
    )
    parser.add_argument(
        "--report", metavar="FILE", type=Path, help="also write the outcome there, as Markdown"
    )
    args = parser.parse_args()
    revision = resolve(args.revision)
    with TemporaryDirectory(prefix="verify-") as folder:
        outcome = verify(revision, Path(folder))
    if args.report:
        files.write(args.report, outcome.report().encode())
    sys.exit(0 if outcome.same else 1)


def verify(revision: Revision, folder: Path) -> Outcome:
    """Run a commit in a copy in this empty folder, and print what came out.

    Raises:
        UserError: it cannot be verified, or a stage failed.
    """
    if revision.commit is None:
        raise UserError("only a commit can be verified, not the workspace: commit it first")
    refuse_frozen(revision)
    load(revision, LOCK, Lock.parse)  # else there is nothing to verify
    print(f"Verifying {revision} in a scratch copy", flush=True)
    if git_text("--no-optional-locks", "status", "--porcelain"):  # it would write the index
        print("Note: the committed files are verified, not the workspace's changes", flush=True)

    copy = check_out(revision.commit, folder)
    refuse_hiding(copy)
    file, wanted = expected.read(copy, numerics.ARCHITECTURE)
    if file != LOCK:
        params = ", ".join(f"{key}={value}" for key, value in wanted.params.items())
        print(
            f"{file} has digests of this architecture. They are of a run with"
            f" {params or 'the same parameters'} ({wanted.computed_on})",
            flush=True,
        )
    set_values(copy / PARAMS, wanted.params)
    remove_results(copy, read_pipeline(revision), wanted.outputs)
    repro(copy)
    got = expected.read_digests(copy)
    changes = describe_changes(revision, copy) if file == LOCK else []

    paths = wanted.outputs | got
    different = sum(wanted.outputs.get(path) != got.get(path) for path in paths)
    outcome = verdict(different, len(paths), changes, file)
    lines = [*map(printable, changes), outcome, *conditions()]
    print("", table(wanted.outputs, got), "", *lines, sep="\n")
    return Outcome(copy, outcome, changes, same=not different and not changes)


def refuse_frozen(revision: Revision) -> None:
    """DVC takes the outputs of a frozen stage as they are, also by force.

    Raises:
        UserError: a stage is frozen.
    """
    for name, stage in read_pipeline(revision).stages.items():
        if stage.frozen:
            raise UserError(
                f"{PIPELINE}: stages.{name}.frozen: nothing computes the results of this stage;"
                f" remove the line, or run `dvc unfreeze {name}`"
            )


def refuse_hiding(copy: Path) -> None:
    """`python -m` has its folder first on the path. So a stage would import a module from there in
    place of an installed one with that name.

    Raises:
        UserError: the copy has such a module.
    """
    here, tools = str(copy), Path(__file__).resolve().parents[1]
    elsewhere = [path for path in sys.path if path and Path(path).resolve() != tools]
    for name in sorted({entry.name.partition(".")[0] for entry in copy.iterdir()}):
        found = PathFinder.find_spec(name, [here])
        if found is None or found.loader is None:  # a folder without __init__.py hides nothing
            continue
        if name in sys.stdlib_module_names or PathFinder.find_spec(name, elsewhere):
            path = Path(found.origin or "").relative_to(copy).as_posix()
            raise UserError(f"{path}: hides the installed module {name} from each stage: rename it")


def check_out(commit: str, folder: Path) -> Path:
    """A clone at that commit, with an empty DVC cache of its own. From another cache DVC would take
    the results of earlier runs instead of running. A wrong output of this run stays out of it."""
    return scratch.copy_commit(commit, folder / "copy", Path("cache"))


def remove_results(copy: Path, pipeline: Pipeline, outputs: Iterable[str]) -> None:
    """Remove the lock and the outputs that git holds, so that none is taken for one of this run.
    Of the folders that hold metrics or plots, remove all: what no stage writes is not evidence."""
    folders = {str(PurePosixPath(path).parent) for path in pipeline.evidence} - {"."}
    git("--literal-pathspecs", "rm", "-r", "--quiet", "--ignore-unmatch", "--", LOCK, *outputs,
        *folders, folder=copy)  # fmt: skip


def repro(copy: Path, *stages: str, **variables: str) -> None:
    """Run all stages, or these and those before, up to date or not, with these environment
    variables. What the libraries leave behind goes into the scratch folder, too.

    Raises:
        UserError: a stage failed, and has said why.
    """
    folder = copy.parent
    environment = {"TMPDIR": str(folder)} | scratch.environment(folder) | variables
    command = ("-P", "-m", "dvc", "repro", "--force", *stages)  # -P: DVC imports nothing there
    if run_python(*command, folder=copy, variables=environment, scratch=folder):
        raise UserError("the pipeline failed, as shown above: nothing to compare")


def describe_changes(revision: Revision, copy: Path) -> list[str]:
    """A line for each value that a commit of this run would change."""
    git("add", "--all", folder=copy)
    listed = git("diff", "--cached", "--name-only", "--no-renames", "-z", "HEAD", folder=copy)
    names = os.fsdecode(listed).split("\0")[:-1]
    committed = find(revision, names)
    computed = {name: (copy / name).read_bytes() for name in names if (copy / name).is_file()}
    return [
        line
        for name in names
        for line in differences.describe(name, committed.get(name), computed.get(name))
    ]


def table(wanted: dict[str, str], got: dict[str, str]) -> str:
    """One line an output, under a heading. A folder's digest is that of the list of its files."""
    rows = [["Artifact", "Expected", "Got", "Same"]]
    for path in wanted | got:
        digests = [outputs.get(path, "-") for outputs in (wanted, got)]
        ending = "/" if digests[0].endswith(".dir") else ""
        same = "yes" if digests[0] == digests[1] else "NO"
        rows.append([path + ending, *(digest.removesuffix(".dir") for digest in digests), same])
    return columns(rows, "<<<<")


def verdict(different: int, n: int, changes: Sequence[str], file: str) -> str:
    """The outcome in one line; `file` has the expected digests."""
    if different:
        return f"{different} of {n} artifacts differ: {file} is not what this machine computes"
    if changes:
        return f"All {n} artifacts are the same, but the commit says something else of the run"
    return f"All {n} artifacts are the same"


def conditions() -> list[str]:
    """What the digests were computed on. The stage train has said if the bits may differ here."""
    numerics.pin()
    build = f"PyTorch {torch.__version__}, running {torch.backends.cpu.get_cpu_capability()} code"
    return [f"CPU: {machine.cpu()}", f"{build}; {machine.system()}"]


if __name__ == "__main__":
    run(main)
