"""Compare the means of two groups of runs. Within a group only the seed differs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stages.common.errors import UserError
from tools.compare.comparison import (
    Change,
    Digests,
    Verdict,
    changes,
    check_labels,
    judge,
    output_digests,
)
from tools.compare.evidence import ACCURACY, PER_DIGIT, Evidence, differing
from tools.pipeline import DATA
from tools.repository import Revision
from tools.statistics import holm, welch

SEED = "train.seed"


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
class Run:
    """One of several runs."""

    revision: Revision
    seed: Any
    accuracy: float


@dataclass(frozen=True)
class SeedComparison:
    """Two groups of runs."""

    base: list[Run]
    head: list[Run]
    verdict: Verdict
    n: int  # test images
    metrics: dict[str, Means]
    params: dict[str, Change]
    data: Digests
    code: dict[str, Change]
    requirements: dict[str, Change]
    stale: dict[str, list[str]]


def compare_seeds(base: Sequence[Evidence], head: Sequence[Evidence]) -> SeedComparison:
    """The means of two groups of runs, two or more each.

    Raises:
        UserError: a group is too small, or differs in more than the seed, or the runs were not
            scored on the same test images.
    """
    for side, group in (("BASE", base), ("HEAD", head)):
        check_group(side, group)
    check_labels([*base, *head])
    metrics = compare_metrics(base, head)
    accuracy = metrics[ACCURACY]
    return SeedComparison(
        base=[run(evidence) for evidence in base],
        head=[run(evidence) for evidence in head],
        verdict=judge(accuracy.change, accuracy.p, same=False),
        n=len(base[0].predictions),
        metrics=metrics,
        params=changes(but_seed(base[0]), but_seed(head[0])),
        data=output_digests(base[0], head[0], DATA),
        code=changes(base[0].code, head[0].code),
        requirements=changes(base[0].requirements, head[0].requirements),
        stale={str(evidence.revision): evidence.stale for evidence in (*base, *head)},
    )


def compare_metrics(base: Sequence[Evidence], head: Sequence[Evidence]) -> dict[str, Means]:
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
    """A row of the list of runs."""
    return Run(evidence.revision, evidence.params.get(SEED), evidence.metrics[ACCURACY])


def but_seed(evidence: Evidence) -> dict[str, Any]:
    """The params without the seed."""
    return {name: value for name, value in evidence.params.items() if name != SEED}


def inputs(evidence: Evidence) -> dict[str, Any]:
    """What the run was made from, without the seed: params, digests of the data and the code."""
    data = {evidence.pipeline.path(DATA): evidence.digest(DATA)}
    return but_seed(evidence) | data | evidence.code


def check_group(side: str, group: Sequence[Evidence]) -> None:
    """The runs of one side must differ in the seed, each from each, and in nothing else.

    Raises:
        UserError: they do not.
    """
    if len(group) < 2:
        raise UserError(f"--seeds: {side} names one run; give two or more, as NAME,NAME,NAME")
    first, *others = group
    for other in others:
        if unwanted := differing(inputs(first), inputs(other)):
            raise UserError(
                f"--seeds: the runs of {side} must differ in {SEED} alone, but {first.revision} and"
                f" {other.revision} differ in {', '.join(unwanted)}"
            )
    seeds = [evidence.params.get(SEED) for evidence in group]
    twice = next((seed for seed in seeds if seeds.count(seed) > 1), None)
    if twice is not None:
        raise UserError(f"--seeds: two runs of {side} have {SEED} {twice}; each needs its own")
