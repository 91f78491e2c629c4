"""Write what a reviewer of a pull request reads: what changed from BASE to the last commit, and
whether the code of that commit gives its results.

    .ci/review BASE FOLDER [URL]

starts this module from a copy of the commit in which the change began, so that the change does not
judge itself. All stages run in a copy of the commit from which the results were removed. If
evidence/seeds.json is about both recipes, one of its runs is trained again, too.

Writes FOLDER/report.md, and pictures beside it. URL is the web address of the commit's files: with
it, the report links to the plots. Exits with 1 if a result differs, or if results contradict each
other, and with 3 if these tools cannot read the commit.
"""

import sys
from argparse import ArgumentParser, Namespace
from contextlib import chdir
from dataclasses import replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from urllib.parse import quote

from stages.common import files
from stages.common.errors import UserError, run
from tools import scratch, verify
from tools.compare import networks, pictures, recipes, report, runs
from tools.compare.consistency import contradictions
from tools.compare.recipes import SEEDS, RecipeComparison, SeedRun
from tools.compare.runs import SEED
from tools.dvc_files import DATA, LOCK, METRICS, PICTURES, PREDICTIONS, Pipeline, read_pipeline
from tools.git import PARAMS, Revision, git, git_text, resolve
from tools.markdown import code
from tools.yaml_files import set_values

UNREADABLE = 3  # the exit status
DOCS = {".md", ".png", ".jpg", ".webp"}  # in docs/, and beside it


def main() -> None:
    """Read both sides, run the commit, compare, report."""
    args = parse_arguments()
    base, head = resolve(args.base), resolve("HEAD")
    before = runs.load(base)
    try:
        after = runs.load(head)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(UNREADABLE)
    comparison = networks.compare(before, after)
    known = recipes.look_up(before, after, recipes.load(head))
    conflicts = {str(side.revision): contradictions(side) for side in (before, after)}
    conflicts[str(head)] += recipes.contradictions(known, before, after)
    faults: list[str] = []  # they stand above all
    computed: list[str] = []
    with TemporaryDirectory(prefix="review-") as name:
        folder = Path(name)
        outcome = verify.verify(head, folder)
        data = outcome.copy / after.path(DATA)
        (computed if outcome.same else faults).append(outcome.report())
        if seeds := known.seeds:
            side, seed = choose(seeds, str(head.commit))
            revision = base if side == "base" else head
            if lines := train_again(seeds, side, seed, revision, folder, data):
                faults.append(forged(lines))
                known = replace(known, seeds=None)
            else:
                computed.append(believed(seeds, side, seed))
        drawn = ", ".join(map(code, pictures.write(args.folder, data, before, after)))
    parts = [
        *faults,
        report.markdown(comparison, known, conflicts, computed),
        f"Pictures in {code(str(args.folder))}: {drawn}.",
        changed_files(str(base.commit), before.pipeline),
        links(args.url, after.pipeline) if args.url else "",
    ]
    text = "\n\n".join(part.strip() for part in parts if part)
    files.write(args.folder / "report.md", f"{text}\n".encode())
    sys.exit(1 if faults or any(conflicts.values()) else 0)


def parse_arguments() -> Namespace:
    """The command line."""
    parser = ArgumentParser(prog=".ci/review", description="Write what a reviewer reads.")
    parser.add_argument("base", metavar="BASE", help="a git revision")
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="for the report")
    parser.add_argument("url", metavar="URL", nargs="?", help="of the files of the last commit")
    return parser.parse_args()


def choose(seeds: RecipeComparison, commit: str) -> tuple[str, int]:
    """The side and the seed of the run that is trained again. They follow from the commit, so the
    same review gives the same answer."""
    every = [(side, seed) for side in ("base", "head") for seed in range(len(seeds.base.runs))]
    return every[int(commit, 16) % len(every)]


def train_again(
    seeds: RecipeComparison, side: str, seed: int, revision: Revision, folder: Path, data: Path
) -> list[str]:
    """Train a run of the file in a new copy, from these data; what differs, a line for each value.

    Raises:
        UserError: a stage failed.
    """
    name = f"{side}, {SEED} {seed}"
    print(f"Training {name} of {SEEDS} again", flush=True)
    copy = scratch.copy_commit(str(revision.commit), folder / "seed", Path("cache-of-seed"))
    pipeline = read_pipeline(revision)
    verify.remove_results(copy, pipeline, pipeline.outputs())
    set_values(copy / PARAMS, {SEED: seed})
    verify.refuse_hiding(copy)
    verify.repro(copy, METRICS.stage, MNIST_DIR=str(data))
    with chdir(copy):
        got = runs.load(Revision(name, commit=None))
    computed = SeedRun(seed, got.metrics, got.digest(PREDICTIONS))
    committed = next(run for run in getattr(seeds, side).runs if run.seed == seed)
    return recipes.describe(f"{SEEDS}: {name}", committed, "computed", computed)


def forged(differences: list[str]) -> str:
    """The run that was trained again is another one."""
    lines = "\n".join(f"- {code(line)}" for line in differences)
    return f"**Not what the code computes.** Do not believe {code(SEEDS)}.\n\n{lines}"


def believed(seeds: RecipeComparison, side: str, seed: int) -> str:
    """The verdict about the recipes, and how much of it was computed again."""
    return (
        f"**{report.sentence(seeds)}** One of these {2 * len(seeds.base.runs)} runs was computed"
        f" again and is the same: {side}, {code(SEED)} {seed}. The others are believed, as"
        f" {code(SEEDS)} has them."
    )


def changed_files(base: str, pipeline: Pipeline) -> str:
    """All that the change brings but outputs, params and docs. What is an output, the base says:
    a change could name anything so."""
    listed = git("diff", "--name-only", "--no-renames", "-z", f"{base}...HEAD", "--")
    names = listed.decode(errors="backslashreplace").split("\0")[:-1]
    shown = [name for name in names if not is_result(name, pipeline)]
    if not shown:
        return ""
    judge = f"The tools that judged are those of {code(git_text('merge-base', base, 'HEAD')[:7])}."
    lines = "\n".join(f"- {code(name)}" for name in shown)
    return f"**Files that changed, besides results, params and docs.** {judge}\n\n{lines}"


def is_result(name: str, pipeline: Pipeline) -> bool:
    """Whether git's file is an output, the params or a page."""
    path = PurePosixPath(name)
    if path.parts[0] == "docs" or (len(path.parts) == 1 and path.suffix == ".md"):
        return path.suffix in DOCS
    return name in (LOCK, PARAMS) or any(path.is_relative_to(out) for out in pipeline.outputs())


def links(url: str, pipeline: Pipeline) -> str:
    """The plots in git."""
    folder = pipeline.path(PICTURES)
    listed = git("ls-tree", "-z", "--name-only", "HEAD", "--", f"{folder}/")
    plots = [name for name in listed.decode().split("\0") if name.endswith(".png")]
    return "Plots in git: " + " ".join(
        f"[{code(PurePosixPath(plot).stem)}]({url}/{quote(plot)})" for plot in plots
    )


if __name__ == "__main__":
    run(main)
