"""Compare two revisions' evidence: params, metrics, predictions. Prints Markdown, or JSON.

    python -m tools.compare BASE [HEAD] [--images DIR] [--json] [--fail-on-regression]
    python -m tools.compare --seeds BASE,BASE,... HEAD,HEAD,...

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
from stages.common.errors import run
from tools.compare import evidence, report, seeds_file
from tools.compare.comparison import Comparison, compare
from tools.compare.consistency import agreement, contradictions, warnings
from tools.compare.groups import SeedComparison, compare_seeds
from tools.compare.seeds_file import SEEDS, Recipes, compare_recipes
from tools.git import WORKSPACE, resolve
from tools.markdown import code
from tools.statistics import ALPHA


def main() -> None:
    """Load both sides, compare, print."""
    args = parse_arguments()
    comparison: Comparison | SeedComparison
    recipes = None
    pictures = []
    if args.seeds:
        groups = [[load(name) for name in names.split(",")] for names in (args.base, args.head)]
        sides = [run for group in groups for run in group]
        comparison = compare_seeds(*groups)
    else:
        base, head = sides = [load(args.base), load(args.head)]
        comparison = compare(base, head)
        recipes = compare_recipes(base, head, seeds_file.load(head.revision))
        pictures = [draw(args.images, base, head)] if args.images else []
    conflicts = {str(side.revision): contradictions(side) for side in sides}
    if args.json:
        data = as_data(comparison, recipes) | {"contradictions": conflicts}
        output = files.canonical_json(data)
    else:
        parts = [*warnings(conflicts), report.markdown(comparison, recipes), *agreement(conflicts)]
        output = ("\n\n".join([*parts, *pictures]) + "\n").encode()
    sys.stdout.buffer.write(output)  # UTF-8 whatever the locale
    if args.fail_on_regression:
        fail_on_regression((recipes and recipes.seeds) or comparison)
    if any(conflicts.values()):
        sys.exit(1)


def as_data(comparison: Comparison | SeedComparison, recipes: Recipes | None) -> dict[str, Any]:
    """The report as values for JSON."""
    data = asdict(comparison) | {"sentence": report.sentence(comparison)}
    if recipes is not None:
        data["recipes"] = asdict(recipes)
        if recipes.seeds:
            data["recipes"]["seeds"]["sentence"] = report.sentence(recipes.seeds)
    return data


def fail_on_regression(judged: Comparison | SeedComparison) -> None:
    """Say what was judged, and exit with 1 if it is worse."""
    print(f"--fail-on-regression: {report.sentence(judged)}", file=sys.stderr)
    if judged.verdict == "worse":
        sys.exit(1)


def parse_arguments() -> Namespace:
    """The command line."""
    parser = ArgumentParser(
        prog="python -m tools.compare",
        description="What changed from BASE to HEAD, is it real, and what does it look like?",
    )
    parser.add_argument("base", metavar="BASE", help="a git revision or an experiment")
    parser.add_argument(
        "head",
        metavar="HEAD",
        nargs="?",
        default=WORKSPACE.name,
        help="another one (default: the workspace)",
    )
    parser.add_argument(
        "--images", metavar="DIR", type=Path, help="draw what broke, what was fixed, the curves"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--fail-on-regression",
        action="store_true",
        help=f"exit with 1 when HEAD is worse with p < {ALPHA}: its recipe, if {SEEDS} is about"
        " these two revisions, or else its network",
    )
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


def load(name: str) -> evidence.Evidence:
    """The evidence of a revision by its name."""
    return evidence.load(resolve(name))


def draw(folder: Path, base: evidence.Evidence, head: evidence.Evidence) -> str:
    """Write the pictures; the line that names them."""
    from tools.compare import pictures  # noqa: PLC0415 - importing matplotlib doubles the run time

    names = pictures.write(folder, base, head)
    return f"Pictures in {code(str(folder))}: {', '.join(map(code, names))}."


if __name__ == "__main__":
    run(main)
