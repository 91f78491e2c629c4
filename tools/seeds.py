"""Is the recipe better, or this one network? Train two revisions with the same seeds, and compare.

    python -m tools.seeds BASE [HEAD] [--n 5]

DVC runs both revisions in copies of their own, each with its own code and params, with the seeds 0
to N - 1. The copies share the cache of this project, so DVC runs nothing that it has run before.
Killed and started again, the training goes on after its last finished epoch. Both sides run with
the packages that are installed here. Writes evidence/seeds.json, and prints the report. Without
those runs, `python -m tools.compare` prints it from the file.
"""

import shutil
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from stages.common import files
from stages.common.errors import UserError, run
from tools import scratch
from tools.compare import recipes, report, runs
from tools.compare.recipes import SEEDS
from tools.compare.runs import ACCURACY, SEED, Run
from tools.dvc_files import METRICS, read_pipeline
from tools.git import Revision, add_revisions, git_text, load, resolve
from tools.processes import run_python
from tools.yaml_files import set_values

FOLDER = Path(".dvc/tmp/seeds")  # git ignores it
COPIES = FOLDER / "copies"  # removed when all runs have ended well


@dataclass(frozen=True)
class Side:
    """One of the two revisions, and the copy in which it runs."""

    name: str  # BASE or HEAD
    revision: Revision
    copy: Path
    params: str  # the file with the seed

    @property
    def log(self) -> Path:
        """What its last run printed."""
        return FOLDER / f"{self.name}.log"

    def __str__(self) -> str:
        """`BASE, main (a2615cf)`."""
        return f"{self.name}, {self.revision}"


def main() -> None:
    """Train, write the file, print the report."""
    parser = ArgumentParser(
        prog="python -m tools.seeds",
        description="Train BASE and HEAD with the same seeds: is the recipe better?",
    )
    add_revisions(parser, "the tracked files of the workspace")
    parser.add_argument("--n", type=int, default=5, help="seeds, 2 or more (default: 5)")
    parser.add_argument(
        "--limit", metavar="MINUTES", type=float, default=120, help="of a run (default: 120)"
    )
    args = parser.parse_args()
    if args.n < 2:
        parser.error("--n: 2 seeds or more")
    revisions = [resolve(args.base), resolve(args.head)]
    with alone():
        sides = make_copies(*revisions)
        seeds = recipes.collect(*train(sides, args.n, 60 * args.limit))
        files.write(Path(SEEDS), recipes.encode(seeds))
        shutil.rmtree(COPIES)
    print(f"Commit {SEEDS}: `python -m tools.compare` and the pull request show it.\n")
    sys.stdout.buffer.write(f"{report.markdown(recipes.compare(seeds))}\n".encode())


@contextmanager
def alone() -> Iterator[None]:
    """Wait until no other start of this tool works in this project. What it has run by then, DVC
    does not run again."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    lock = FileLock(FOLDER / "lock")
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        print(f"Another start of this tool is at work in {FOLDER}: waiting until it ends")
        held = lock.acquire()
    with held:
        yield


def make_copies(base: Revision, head: Revision) -> list[Side]:
    """A copy of each revision, or the one that an earlier start has left.

    Raises:
        UserError: a revision has no seed, or both are the same.
    """
    cache = cache_folder()
    sides = []
    for name, revision in (("BASE", base), ("HEAD", head)):
        params = read_pipeline(revision).file_of(SEED)
        if SEED not in load(revision, params, runs.parse_params):
            raise UserError(f"{name}, {revision}: {params} has no {SEED}, which each run sets")
        commit = revision.commit or workspace_commit()
        copy = COPIES / git_text("rev-parse", f"{commit}^{{tree}}")
        if not copy.exists():
            scratch.copy_commit(commit, copy, cache)
        sides.append(Side(name, revision, copy.resolve(), params))
    if sides[0].copy == sides[1].copy:
        raise UserError(f"{sides[0]} and {sides[1]} hold the same files: nothing to compare")
    return sides


def workspace_commit() -> str:
    """A commit of the tracked files as they are now. No branch leads to it, and git removes it some
    day."""
    identity = ("-c", "user.name=tools.seeds", "-c", "user.email=tools.seeds@localhost")
    return git_text(*identity, "stash", "create") or git_text("rev-parse", "HEAD")


def cache_folder() -> Path:
    """DVC's cache, wherever DVC's settings have it.

    Raises:
        UserError: DVC has none here.
    """
    command = [sys.executable, "-m", "dvc", "cache", "dir"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        raise UserError(process.stderr.strip())
    return Path(process.stdout.strip())


def train(sides: list[Side], n: int, seconds: float) -> list[list[Run]]:
    """Run each side with each seed: the runs of each side.

    Raises:
        UserError: a run failed or took too long, both sides are the same recipe, or they were
            scored on other images.
    """
    done: list[list[Run]] = [[] for _ in sides]
    with tqdm(total=n * len(sides), unit="run") as bar:
        for seed in range(n):
            for side, of_side in zip(sides, done, strict=True):
                bar.set_description(f"{side.name}, seed {seed}")
                run_one(side, seed, seconds)
                of_side.append(read_run(side, seed))
                accuracy = of_side[-1].metrics[ACCURACY]
                bar.write(f"{side}, seed {seed}: {report.percent(accuracy)}")
                bar.update()
            if seed == 0:
                check_pair(*(of_side[0] for of_side in done))
    return done


def run_one(side: Side, seed: int, seconds: float) -> None:
    """Let DVC run the stages that give the metrics. It takes from its cache what was run before.

    Raises:
        UserError: the run failed or took too long.
    """
    name = f"{side}, seed {seed}"
    # DVC's list of who reads and writes there: a killed process may stand in it. DVC believes it
    # for as long as the system has not forgotten that process's number.
    (side.copy / ".dvc/tmp/rwlock").unlink(missing_ok=True)
    set_values(side.copy / side.params, {SEED: seed})
    command = ("-m", "dvc", "repro", METRICS.stage)
    variables = scratch.environment(FOLDER)
    try:
        status = run_python(
            *command, folder=side.copy, variables=variables, log=side.log, seconds=seconds
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"{name}: did not end within {seconds / 60:g} minutes. To go on from its last epoch,"
            " start it again, with a larger --limit"
        ) from None
    if status:
        printed = side.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise UserError(
            "\n".join([f"{name}: failed; all that it printed is in {side.log}:", *printed[-10:]])
        )


def read_run(side: Side, seed: int) -> Run:
    """What a run has left in its copy.

    Raises:
        UserError: it has left something else than the runs of this project.
    """
    with chdir(side.copy):
        return runs.load(Revision(f"{side}, seed {seed}", commit=None))


def check_pair(base: Run, head: Run) -> None:
    """The first run of each side must show that there is something to compare.

    Raises:
        UserError: there is not.
    """
    if not runs.recipe_differences(base.recipe, head.recipe):
        raise UserError("BASE and HEAD train the same, with the same code, params and data")
    runs.check_labels([base, head])


if __name__ == "__main__":
    run(main)
