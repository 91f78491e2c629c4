"""Compare the means of two groups of runs with the same seeds. Within a group only the seed
differs.

A seed decides the first weights and the order of the images, on both sides. So the runs with one
seed are a pair, and the test is paired.
"""

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
from tools.dvc_files import PREDICTIONS
from tools.statistics import holm, least_change, paired_t, pairs_needed


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
    deviation: float  # standard deviation of the changes with each seed
    low: float  # 95 % interval of the change
    high: float
    p: float  # of the paired t-test
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
    seeds_needed: int | None  # to find the change that was seen so; None if too many
    params: dict[str, Change]
    files: dict[str, Change]  # code, data and commands
    requirements: dict[str, Change] = field(default_factory=dict)
    stale: dict[str, list[str]] = field(default_factory=dict)


def compare_groups(base: Group, head: Group, n: int) -> SeedComparison:
    """The means of two groups of runs with the same two or more seeds, scored on the same n test
    images."""
    metrics = compare_metrics(base.runs, head.runs)
    accuracy = metrics[ACCURACY]
    files = [side.recipe.files | side.recipe.commands for side in (base, head)]
    return SeedComparison(
        base=base,
        head=head,
        n=n,
        verdict=judge(accuracy.change, accuracy.p, same=False),
        metrics=metrics,
        least_change=least_change(accuracy.base.n, accuracy.deviation),
        seeds_needed=pairs_needed(accuracy.change, accuracy.deviation),
        params=changes(base.recipe.params, head.recipe.params),
        files=changes(*files),
    )


def compare_seeds(base: Sequence[Evidence], head: Sequence[Evidence]) -> SeedComparison:
    """The means of two groups of revisions, two or more each.

    Raises:
        UserError: a group is too small, or differs in more than the seed, or has other seeds than
            the other one, or the runs were not scored on the same test images.
    """
    seeds = [check_group(*side) for side in (("BASE", base), ("HEAD", head))]
    if seeds[0] != seeds[1]:
        raise UserError(f"--seeds: BASE has {SEED} {seeds[0]}, HEAD {seeds[1]}; both need the same")
    check_labels([*base, *head])
    before, after = (
        Group(side[0].recipe, [run(evidence) for evidence in side]) for side in (base, head)
    )
    return replace(
        compare_groups(before, after, len(base[0].predictions)),
        requirements=changes(base[0].requirements, head[0].requirements),
        stale={str(evidence.revision): evidence.stale for evidence in (*base, *head)},
    )


def compare_metrics(base: Iterable[Run], head: Iterable[Run]) -> dict[str, Means]:
    """Each metric that all runs have. The p-values of the digits are corrected for their number."""
    base, head = (sorted(side, key=lambda run: run.seed) for side in (base, head))
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
    """Two samples of one metric, in the order of the seeds."""
    difference = paired_t(base, head)
    return Means(sample(base), sample(head), *difference, p_corrected=difference.p)


def sample(values: Sequence[float]) -> Sample:
    """How many, their mean and their standard deviation."""
    return Sample(len(values), float(np.mean(values)), float(np.std(values, ddof=1)))


def run(evidence: Evidence) -> Run:
    """The run of a revision."""
    return Run(evidence.params[SEED], evidence.metrics, evidence.digest(PREDICTIONS))


def check_group(side: str, revisions: Sequence[Evidence]) -> list[int]:
    """The seeds of the runs of one side, which must differ, each from each, and nothing else.

    Raises:
        UserError: they do not.
    """
    if len(revisions) < 2:
        raise UserError(f"--seeds: {side} names one run; give two or more, as NAME,NAME,NAME")
    first = revisions[0]
    for other in revisions:
        if unwanted := recipe_differences(first.recipe, other.recipe):
            raise UserError(
                f"--seeds: the runs of {side} must differ in {SEED} alone, but {first.revision} and"
                f" {other.revision} differ in {', '.join(unwanted)}"
            )
        if SEED not in other.params:
            raise UserError(f"--seeds: {other.revision} has no {SEED}")
    seeds: list[int] = [evidence.params[SEED] for evidence in revisions]
    twice = next((seed for seed in seeds if seeds.count(seed) > 1), None)
    if twice is not None:
        raise UserError(f"--seeds: two runs of {side} have {SEED} {twice}; each needs its own")
    return sorted(seeds)
