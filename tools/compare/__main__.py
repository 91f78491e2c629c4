"""Compare two revisions' runs: params, metrics, predictions. Prints Markdown, or JSON.

    python -m tools.compare BASE [HEAD] [--images DIR] [--json] [--fail-on-regression]
    python -m tools.compare --seeds BASE,BASE,... HEAD,HEAD,... [--margin POINTS]

A revision is whatever git takes for one, the name of an experiment, or `workspace`. Its files are
read from git, so neither DVC's cache nor a remote is needed; only the pictures need MNIST.
Exits with 1 if the files of a revision contradict each other.
"""

import sys
from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stages.common import files
from stages.common.errors import UserError, run
from tools.compare import networks, recipes, report, runs
from tools.compare.consistency import contradictions
from tools.compare.recipes import SEEDS, RecipeComparison, Recipes
from tools.compare.report import Comparison
from tools.compare.runs import Run
from tools.dvc_files import DATA, locate
from tools.git import add_revisions, resolve
from tools.markdown import code
from tools.statistics import ALPHA


def main() -> None:
    """Load both sides, compare, print."""
    args = parse_arguments()
    comparison: Comparison
    known, pictures = None, ""
    if args.seeds:
        base, head = ([*map(load, names.split(","))] for names in (args.base, args.head))
        sides = [*base, *head]
        comparison = recipes.compare_revisions(base, head, args.margin)
    else:
        before, after = sides = [load(args.base), load(args.head)]
        comparison = networks.compare(before, after)
        known = recipes.look_up(before, after, recipes.load(after.revision), args.margin)
        if args.margin and not known.seeds:
            raise UserError(
                "--margin: asks about recipes, which takes several runs of each: `make seeds`"
                " trains them, --seeds takes those that exist"
            )
        pictures = draw(args.images, before, after) if args.images else ""
    conflicts = {str(side.revision): contradictions(side) for side in sides}
    if known:
        conflicts[str(after.revision)] += recipes.contradictions(known, before, after)
    if args.json:
        data = as_data(comparison, known) | {"contradictions": conflicts}
        output = files.canonical_json(data)
    else:
        output = f"{report.markdown(comparison, known, conflicts)}\n{pictures}".encode()
    sys.stdout.buffer.write(output)  # UTF-8 whatever the locale
    if args.fail_on_regression:
        fail_on_regression((known and known.seeds) or comparison)
    if any(conflicts.values()):
        sys.exit(1)


def as_data(comparison: Comparison, known: Recipes | None) -> dict[str, Any]:
    """The report as values for JSON."""
    data = asdict(comparison) | {"sentence": report.sentence(comparison)}
    if known is not None:
        data["recipes"] = asdict(known)
        if known.seeds:
            data["recipes"]["seeds"]["sentence"] = report.sentence(known.seeds)
    return data


def fail_on_regression(judged: Comparison) -> None:
    """Say what was judged, and exit with 1 if it is worse; with a margin, unless it is shown that
    the loss is less."""
    print(f"--fail-on-regression: {report.sentence(judged)}", file=sys.stderr)
    margin = judged.not_worse if isinstance(judged, RecipeComparison) else None
    if not margin.holds if margin else judged.verdict == "worse":
        sys.exit(1)


def parse_arguments() -> Namespace:
    """The command line."""
    parser = ArgumentParser(
        prog="python -m tools.compare",
        description="What changed from BASE to HEAD, is it real, and what does it look like?",
    )
    add_revisions(parser, "the workspace")
    parser.add_argument(
        "--images", metavar="DIR", type=Path, help="draw what broke, what was fixed, the curves"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--fail-on-regression",
        action="store_true",
        help=f"exit with 1 when HEAD is worse with p < {ALPHA}: its recipe, if {SEEDS} is about"
        " these two revisions, or else its network; with --margin, unless it is shown that HEAD"
        " loses less than that",
    )
    recipes.add_margin(parser)
    parser.add_argument(
        "--seeds",
        action="store_true",
        help="BASE and HEAD are lists, NAME,NAME,..., of runs that differ in the seed alone:"
        " compare their means",
    )
    args = parser.parse_args()
    if args.seeds and args.images:
        parser.error("--images compares two revisions, --seeds two groups of them: choose one")
    return args


def load(name: str) -> Run:
    """The run of a revision by its name."""
    return runs.load(resolve(name))


def draw(folder: Path, base: Run, head: Run) -> str:
    """Write the pictures; the paragraph that names them."""
    from tools.compare import pictures  # noqa: PLC0415 - importing matplotlib doubles the run time

    names = pictures.write(folder, locate(DATA), base, head)
    return f"\nPictures in {code(str(folder))}: {', '.join(map(code, names))}.\n"


if __name__ == "__main__":
    run(main)
