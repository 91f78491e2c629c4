"""Compare the means of two groups of runs. Within a group only the seed differs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from pydantic import FiniteFloat

from stages.common.errors import UserError
from tools.compare.comparison import Change, Verdict, changes, check_labels, judge
from tools.compare.evidence import (
    ACCURACY,
    PER_DIGIT,
    SEED,
    Evidence,
    Recipe,
    recipe_differences,
)
from tools.pipeline import PREDICTIONS
from tools.statistics import Spread, holm, least_change, values_needed, welch


@dataclass(frozen=True)
class Run:
    """One of several runs."""

    seed: int
    metrics: dict[str, FiniteFloat]  # `test.accuracy`: 0.98
    predictions: str | None  # MD5 of the table of predictions


@dataclass(frozen=True)
class Group:
    """Runs of one recipe, each with its own seed."""

    recipe: Recipe
    runs: list[Run]


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
    low: float  # 95 % interval of the change
    high: float
    p: float  # Welch's
    p_corrected: float


@dataclass(frozen=True)
class SeedComparison:
    """Two groups of runs."""

    base: Group
    head: Group
    n: int  # test images
    verdict: Verdict
    metrics: dict[str, Means]
    least_change: float  # of the accuracy, that so many seeds find with a power of 80 %
    seeds_needed: int | None  # a side, to find the change that was seen; None if too many
    params: dict[str, Change]
    files: dict[str, Change]  # code, data and commands
    requirements: dict[str, Change] = field(default_factory=dict)
    stale: dict[str, list[str]] = field(default_factory=dict)


def compare_groups(base: Group, head: Group, n: int) -> SeedComparison:
    """The means of two groups of two or more runs each, scored on the same n test images."""
    metrics = compare_metrics(base.runs, head.runs)
    accuracy = metrics[ACCURACY]
    spreads = [Spread(side.n, side.deviation) for side in (accuracy.base, accuracy.head)]
    deviations = [side.deviation for side in spreads]
    files = [side.recipe.files | side.recipe.commands for side in (base, head)]
    return SeedComparison(
        base=base,
        head=head,
        n=n,
        verdict=judge(accuracy.change, accuracy.p, same=False),
        metrics=metrics,
        least_change=least_change(*spreads),
        seeds_needed=values_needed(accuracy.change, *deviations),
        params=changes(base.recipe.params, head.recipe.params),
        files=changes(*files),
    )


def compare_seeds(base: Sequence[Evidence], head: Sequence[Evidence]) -> SeedComparison:
    """The means of two groups of revisions, two or more each.

    Raises:
        UserError: a group is too small, or differs in more than the seed, or the runs were not
            scored on the same test images.
    """
    for side, revisions in (("BASE", base), ("HEAD", head)):
        check_group(side, revisions)
    check_labels([*base, *head])
    before, after = (
        Group(side[0].recipe, [run(evidence) for evidence in side]) for side in (base, head)
    )
    return replace(
        compare_groups(before, after, len(base[0].predictions)),
        requirements=changes(base[0].requirements, head[0].requirements),
        stale={str(evidence.revision): evidence.stale for evidence in (*base, *head)},
    )


def compare_metrics(base: Sequence[Run], head: Sequence[Run]) -> dict[str, Means]:
    """Each metric that all runs have. The p-values of the digits are corrected for their number."""
    metrics = {
        name: means([run.metrics[name] for run in base], [run.metrics[name] for run in head])
        for name in base[0].metrics
        if all(name in run.metrics for run in (*base, *head))
    }
    digits = digit_metrics(metrics)
    for name, p in zip(digits, holm([metrics[name].p for name in digits]), strict=True):
        metrics[name] = replace(metrics[name], p_corrected=p)
    return metrics


def digit_metrics(names: Iterable[str]) -> list[str]:
    """The names of those that are about a single digit."""
    return [name for name in names if name.startswith(PER_DIGIT)]


def means(base: Sequence[float], head: Sequence[float]) -> Means:
    """Two samples of one metric."""
    change, low, high, p = welch(base, head)
    return Means(sample(base), sample(head), change, low, high, p, p)


def sample(values: Sequence[float]) -> Sample:
    """How many, their mean and their standard deviation."""
    return Sample(len(values), float(np.mean(values)), float(np.std(values, ddof=1)))


def run(evidence: Evidence) -> Run:
    """The run of a revision."""
    return Run(evidence.params[SEED], evidence.metrics, evidence.digest(PREDICTIONS))


def check_group(side: str, revisions: Sequence[Evidence]) -> None:
    """The runs of one side must differ in the seed, each from each, and in nothing else.

    Raises:
        UserError: they do not.
    """
    if len(revisions) < 2:
        raise UserError(f"--seeds: {side} names one run; give two or more, as NAME,NAME,NAME")
    first, *others = revisions
    for other in others:
        if unwanted := recipe_differences(first.recipe, other.recipe):
            raise UserError(
                f"--seeds: the runs of {side} must differ in {SEED} alone, but {first.revision} and"
                f" {other.revision} differ in {', '.join(unwanted)}"
            )
    seeds = [evidence.params.get(SEED) for evidence in revisions]
    for revision, seed in zip(revisions, seeds, strict=True):
        if seed is None:
            raise UserError(f"--seeds: {revision.revision} has no {SEED}")
        if seeds.count(seed) > 1:
            raise UserError(f"--seeds: two runs of {side} have {SEED} {seed}; each needs its own")
