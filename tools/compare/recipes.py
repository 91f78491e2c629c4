"""Compare two recipes: the means of several runs of each, with the same seeds on both sides.

A seed decides the first weights and the order of the images, on both sides. So the runs with one
seed are a pair, and the test is paired.

The runs are those of revisions that the user names (`python -m tools.compare --seeds`), those that
`python -m tools.seeds` has just made, or those of the file that it wrote. All of them become a
`Seeds`, which `compare` takes.

The file names its two sides by what they train, not by a branch or a commit. So any two revisions
with these recipes find it, also after a rebase.
"""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from math import isfinite

import numpy as np
from pydantic import FiniteFloat, PositiveInt, TypeAdapter

from stages.common import files
from stages.common.errors import UserError
from tools import git
from tools.compare.runs import (
    ACCURACY,
    PER_DIGIT,
    SEED,
    Change,
    Recipe,
    Run,
    changes,
    check_labels,
    digit_metrics,
    recipe_differences,
)
from tools.dvc_files import PREDICTIONS
from tools.git import Revision, find
from tools.statistics import (
    ALPHA,
    LEAST_PAIRS,
    Verdict,
    holm,
    judge,
    least_change,
    not_worse,
    paired_t,
    pairs_needed,
)

SEEDS = "evidence/seeds.json"  # no stage writes it, so it is not in dvc.yaml
DECIMALS = 6  # of a metric in metrics.json


@dataclass(frozen=True)
class SeedRun:
    """One of several runs."""

    seed: int
    metrics: dict[str, FiniteFloat]  # `test.accuracy`: 0.98
    predictions: str | None  # MD5 of the table of predictions


@dataclass(frozen=True)
class RecipeRuns:
    """Runs of one recipe, each with its own seed."""

    recipe: Recipe
    runs: list[SeedRun]


@dataclass(frozen=True)
class Seeds:
    """Runs of two recipes with the same seeds, three or more: the content of the file."""

    images: dict[str, PositiveInt]  # of which a metric is the share: `test.accuracy`: 10000
    base: RecipeRuns
    head: RecipeRuns


@dataclass(frozen=True)
class Sample:
    """One number from several runs."""

    n: int
    mean: float
    deviation: float  # standard deviation, of a sample: n - 1


@dataclass(frozen=True)
class Means:
    """A metric, before and after, over several seeds."""

    base: Sample
    head: Sample
    change: float
    deviation: float  # standard deviation of the changes with each seed
    low: float  # 95 % interval of the change
    high: float
    p: float  # of the paired t-test
    p_corrected: float


@dataclass(frozen=True)
class Margin:
    """Is HEAD worse by less than this?"""

    margin: float  # of the accuracy
    p: float  # of the paired t-test, one-sided
    holds: bool
    seeds_needed: int | None  # to show it with a power of 80 % if nothing changes; None if too many


@dataclass(frozen=True)
class RecipeComparison(Seeds):
    """These runs, and what they tell of the recipes."""

    verdict: Verdict
    metrics: dict[str, Means]
    least_change: float  # of the accuracy, that so many seeds find with a power of 80 %
    seeds_needed: int | None  # to find the change that was seen so; None if too many
    not_worse: Margin | None  # if it was asked
    params: dict[str, Change]
    files: dict[str, Change]  # code, data and commands
    requirements: dict[str, Change] = field(default_factory=dict)
    stale: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipes:
    """What is known about the recipes of two revisions."""

    same: bool  # they may differ in the seed
    seeds: RecipeComparison | None  # by the file, if it is about these two
    unfit: dict[str, list[str]]  # by side: what the file has otherwise; empty if there is no file


_SEEDS = TypeAdapter(Seeds)


def add_margin(parser: ArgumentParser) -> None:
    """Add --margin."""

    def margin(text: str) -> float:
        points = float(text)
        if not (isfinite(points) and points > 0):
            raise ArgumentTypeError(f"must be more than 0 percentage points (got {text})")
        return points / 100

    parser.add_argument(
        "--margin",
        metavar="POINTS",
        type=margin,
        help="is the recipe of HEAD worse by less than this, in percentage points of accuracy?",
    )


def compare(seeds: Seeds, margin: float | None = None) -> RecipeComparison:
    """The means of both sides, and what they tell of the recipes. With a `margin`, also whether
    HEAD's mean accuracy is lower by less than that."""
    metrics = compare_metrics(seeds)
    accuracy = metrics[ACCURACY]
    base, head = seeds.base.recipe, seeds.head.recipe
    return RecipeComparison(
        **vars(seeds),
        verdict=judge(accuracy.change, accuracy.p),
        metrics=metrics,
        least_change=least_change(accuracy.base.n, accuracy.deviation),
        seeds_needed=pairs_needed(accuracy.change, accuracy.deviation),
        not_worse=None if margin is None else ask(accuracy, margin),
        params=changes(base.params, head.params),
        files=changes(base.files | base.commands, head.files | head.commands),
    )


def ask(accuracy: Means, margin: float) -> Margin:
    """Is HEAD worse by less than the margin?"""
    p = not_worse(accuracy.change, accuracy.deviation, accuracy.base.n, margin)
    return Margin(margin, p, p < ALPHA, pairs_needed(margin, accuracy.deviation, ALPHA))


def compare_revisions(
    base: Sequence[Run], head: Sequence[Run], margin: float | None = None
) -> RecipeComparison:
    """The same of revisions, whose runs may also have had other packages.

    Raises:
        UserError: they are not what `collect` takes.
    """
    return replace(
        compare(collect(base, head), margin),
        requirements=changes(base[0].requirements, head[0].requirements),
        stale={str(side.revision): side.stale for side in (*base, *head)},
    )


def collect(base: Sequence[Run], head: Sequence[Run]) -> Seeds:
    """The runs of two recipes.

    Raises:
        UserError: the runs of a side differ in more than the seed, the sides have not the same
            three or more seeds, or the runs were not scored on the same test images.
    """
    check_labels([*base, *head])
    sides = runs_of_recipe("BASE", base), runs_of_recipe("HEAD", head)
    labels = base[0].predictions["label"]
    digits = {f"{PER_DIGIT}{digit}": int(n) for digit, n in labels.value_counts(sort=False).items()}
    seeds = Seeds({ACCURACY: len(labels), **digits}, *sides)
    try:
        check(seeds)
    except ValueError as error:
        raise UserError(str(error)) from None
    return seeds


def runs_of_recipe(side: str, runs: Sequence[Run]) -> RecipeRuns:
    """The runs of one side.

    Raises:
        UserError: they differ in more than the seed, or have none.
    """
    first = runs[0]
    for run in runs:
        if unwanted := recipe_differences(first.recipe, run.recipe):
            raise UserError(
                f"the runs of {side} must differ in {SEED} alone, but {first.revision} and"
                f" {run.revision} differ in {', '.join(unwanted)}"
            )
        if SEED not in run.params:
            raise UserError(f"{run.revision} has no {SEED}")
    return RecipeRuns(
        first.recipe,
        [SeedRun(run.params[SEED], run.metrics, run.digest(PREDICTIONS)) for run in runs],
    )


def check(seeds: Seeds) -> None:
    """The runs must be pairs, and have an accuracy.

    Raises:
        ValueError: they have not.
    """
    base, head = (sorted(run.seed for run in side.runs) for side in (seeds.base, seeds.head))
    if base != head or len(base) < LEAST_PAIRS or len({*base}) < len(base):
        raise ValueError(
            f"BASE has {SEED} {base}, HEAD has {head}; both need the same, {LEAST_PAIRS} or more,"
            " each once"
        )
    if not all(ACCURACY in run.metrics for run in (*seeds.base.runs, *seeds.head.runs)):
        raise ValueError(f"a run has no {ACCURACY}")


def check_counts(seeds: Seeds) -> None:
    """What `python -m tools.seeds` writes: the seeds begin with 0, accuracies are counts of images,
    those of the digits add up, and the same predictions are counted alike.

    Raises:
        ValueError: one of these does not hold.
    """
    counted: dict[str, dict[str, int]] = {}  # by predictions
    for side, runs in (("base", seeds.base.runs), ("head", seeds.head.runs)):
        for seed, run in enumerate(sorted(runs, key=lambda run: run.seed)):
            if run.seed != seed:
                raise ValueError(f"{side} has {SEED} {run.seed}, not 0 to {len(runs) - 1}")
            name = f"{side}, {SEED} {seed}"
            right = {metric: count(name, run, metric, n) for metric, n in seeds.images.items()}
            for counts in (seeds.images, right):
                if sum(counts[digit] for digit in digit_metrics(counts)) != counts[ACCURACY]:
                    raise ValueError(f"{name}: the digits do not add up to {counts[ACCURACY]:,}")
            if run.predictions and counted.setdefault(run.predictions, right) != right:
                raise ValueError(f"{name}: another run has the same predictions, other accuracies")


def count(name: str, run: SeedRun, metric: str, n: int) -> int:
    """The images that this accuracy of n images counts.

    Raises:
        ValueError: it is no such count.
    """
    share = run.metrics.get(metric, -1)
    right = round(min(max(share, 0), 1) * n)
    if share != round(right / n, DECIMALS):
        raise ValueError(f"{name}: {metric} is {share}, which is no count of {n:,} images")
    return right


def compare_metrics(seeds: Seeds) -> dict[str, Means]:
    """Each metric that all runs have. The p-values of the digits are corrected for their number."""
    base, head = (sorted(side.runs, key=lambda run: run.seed) for side in (seeds.base, seeds.head))
    steps = {name: 1 / n for name, n in seeds.images.items()}
    metrics = {
        name: means(
            [run.metrics[name] for run in base],
            [run.metrics[name] for run in head],
            steps.get(name, 10**-DECIMALS),
        )
        for name in base[0].metrics
        if all(name in run.metrics for run in (*base, *head))
    }
    digits = digit_metrics(metrics)
    for name, p in zip(digits, holm([metrics[name].p for name in digits]), strict=True):
        metrics[name] = replace(metrics[name], p_corrected=p)
    return metrics


def means(base: Sequence[float], head: Sequence[float], step: float) -> Means:
    """Two samples of one metric, of multiples of `step`, in the order of the seeds."""
    difference = paired_t(base, head, step)
    return Means(sample(base), sample(head), *difference, p_corrected=difference.p)


def sample(values: Sequence[float]) -> Sample:
    """How many, their mean and their standard deviation."""
    return Sample(len(values), float(np.mean(values)), float(np.std(values, ddof=1)))


def look_up(base: Run, head: Run, seeds: Seeds | None, margin: float | None = None) -> Recipes:
    """What the file, if there is one, says of the recipes of two revisions."""
    same = not recipe_differences(base.recipe, head.recipe)
    if same or seeds is None:
        return Recipes(same, None, {})
    unfit = {
        side: names
        for side, run, runs in (("base", base, seeds.base), ("head", head, seeds.head))
        if (names := recipe_differences(run.recipe, runs.recipe))
    }
    return Recipes(same, None if unfit else compare(seeds, margin), unfit)


def contradictions(known: Recipes, base: Run, head: Run) -> list[str]:
    """A line for each value of the file that is another in the run of the same recipe and seed that
    a revision has."""
    if known.seeds is None:
        return []
    return [
        line
        for side, run, runs in (("base", base, known.seeds.base), ("head", head, known.seeds.head))
        for committed in runs.runs
        if committed.seed == run.params.get(SEED)
        for line in describe(
            f"{SEEDS}: {side}, {SEED} {committed.seed}",
            committed,
            str(run.revision),
            SeedRun(committed.seed, run.metrics, run.digest(PREDICTIONS)),
        )
    ]


def describe(name: str, committed: SeedRun, other: str, run: SeedRun) -> list[str]:
    """A line for each value of a run that is another in the run of `other`."""
    ours, theirs = (
        one.metrics | {"MD5 of predictions": one.predictions} for one in (committed, run)
    )
    return [
        f"{name}: {key}: committed {change.base}, {other} {change.head}"
        for key, change in changes(ours, theirs).items()
    ]


def load(revision: Revision) -> Seeds | None:
    """The file of a revision, if it has one.

    Raises:
        UserError: it is not what the tool writes.
    """
    found = find(revision, [SEEDS])
    remedy = "make it again with `make seeds`, or remove it"
    return git.parse(revision, found, SEEDS, parse, remedy) if found else None


def encode(seeds: Seeds) -> bytes:
    """The file's content."""
    return files.canonical_json(asdict(seeds))


def parse(content: bytes) -> Seeds:
    """The same from its content.

    Raises:
        ValueError: it is something else.
    """
    seeds = _SEEDS.validate_json(content)
    check(seeds)
    check_counts(seeds)
    return seeds
