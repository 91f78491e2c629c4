"""Two groups of runs that differ within the group in the seed alone: are their means different?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stages.common.errors import UserError
from tools.compare.comparison import Change, Verdict, changes, check_labels, judge
from tools.compare.evidence import ACCURACY, DATA, PER_DIGIT, Evidence, Revision
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
    """Two groups of runs that differ within the group in the seed alone."""

    base: list[Run]
    head: list[Run]
    verdict: Verdict
    n: int  # test images
    metrics: dict[str, Means]
    params: dict[str, Change]
    data: Change
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
    metrics = {
        name: means(
            [evidence.metrics[name] for evidence in base],
            [evidence.metrics[name] for evidence in head],
        )
        for name in base[0].metrics
        if all(name in evidence.metrics for evidence in (*base, *head))
    }
    digits = [name for name in metrics if name.startswith(PER_DIGIT)]
    for name, p in zip(digits, holm([metrics[name].p for name in digits]), strict=True):
        metrics[name] = replace(metrics[name], p_corrected=p)
    accuracy = metrics[ACCURACY]
    return SeedComparison(
        base=[run(evidence) for evidence in base],
        head=[run(evidence) for evidence in head],
        verdict=judge(accuracy.change, accuracy.p, same=False),
        n=len(base[0].predictions),
        metrics=metrics,
        params=changes(but_seed(base[0]), but_seed(head[0])),
        data=Change(base[0].digests.get(DATA), head[0].digests.get(DATA)),
        code=changes(base[0].code, head[0].code),
        requirements=changes(base[0].requirements, head[0].requirements),
        stale={str(evidence.revision): evidence.stale for evidence in (*base, *head)},
    )


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


def inputs(evidence: Evidence) -> dict[str, str | None]:
    """The digests of what the run was made from, besides the params."""
    return {DATA: evidence.digests.get(DATA), **evidence.code}


def check_group(side: str, group: Sequence[Evidence]) -> None:
    """The runs of one side must differ in the seed, each from each, and in nothing else.

    Raises:
        UserError: they do not.
    """
    if len(group) < 2:
        raise UserError(f"--seeds: {side} names one run; give two or more, as NAME,NAME,NAME")
    first, *others = group
    for other in others:
        unwanted = changes(but_seed(first), but_seed(other)) | changes(inputs(first), inputs(other))
        if unwanted:
            raise UserError(
                f"--seeds: the runs of {side} must differ in {SEED} alone, but {first.revision} and"
                f" {other.revision} differ in {', '.join(unwanted)}"
            )
    seeds = [evidence.params.get(SEED) for evidence in group]
    twice = next((seed for seed in seeds if seeds.count(seed) > 1), None)
    if twice is not None:
        raise UserError(f"--seeds: two runs of {side} have {SEED} {twice}; each needs its own")
