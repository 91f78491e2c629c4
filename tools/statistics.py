"""McNemar's test, Welch's test and Holm's correction, and what the two tests can see.

How often each is wrong, and how often it finds a difference, is simulated in
tests/unit/test_false_alarms.py.
"""

import warnings
from bisect import bisect_left
from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binom, binomtest, nct, t, ttest_ind

ALPHA = 0.05  # a p-value below it is called a difference
POWER = 0.8  # how often a difference should be found if it is there
MAX_VALUES = 1000  # of a sample; beyond it, "more" is the answer


class Spread(NamedTuple):
    """How far the values of a sample lie from each other."""

    n: int  # values, 2 or more
    deviation: float  # standard deviation


class Welch(NamedTuple):
    """What Welch's t-test says of two samples."""

    change: float  # of the mean
    low: float  # 95 % interval of the change
    high: float
    p: float


def mcnemar(fixed: int, broken: int) -> float:
    """The exact two-sided p-value of a change that fixed some images and broke others.

    A flip is an image that is fixed or broken. If the two networks are equally good, either is as
    likely, and `fixed` is binomial with probability 1/2. Without flips p is 1.
    Source: McNemar 1947, "Note on the sampling error of the difference between correlated
    proportions or percentages".
    """
    flips = fixed + broken
    return float(binomtest(fixed, flips).pvalue) if flips else 1.0


def least_flips(flips: int) -> int | None:
    """The smallest |fixed - broken| that `mcnemar` calls a difference, of this many flips; None if
    it calls none so, as with fewer than six."""
    most = int(binom.ppf(ALPHA / 2, flips, 0.5)) - 1  # of the rarer kind
    return flips - 2 * most if most >= 0 else None


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for the number of tests, in the same order.

    The least is multiplied by their number m, the next by m - 1, and so on. None may become less
    than the one before it, nor more than 1. The chance that any of them is below 0.05 by luck alone
    is then at most 0.05.
    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    raised = np.maximum.accumulate(factors * np.asarray(p_values, float)[order])
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(raised, 1)
    return [float(p) for p in corrected]


def welch(base: Sequence[float], head: Sequence[float]) -> Welch:
    """The change of the mean from `base` to `head`, two or more values each.

    The spreads may differ. Two sides without any spread have p = 1 if they are equal, else 0.
    Source: Welch 1947, "The generalization of 'Student's' problem when several different
    population variances are involved".
    """
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # for equal values
        result = ttest_ind(head, base, equal_var=False)
        interval = result.confidence_interval(0.95)
    change = float(np.mean(head) - np.mean(base))
    p = 1.0 if np.isnan(result.pvalue) else float(result.pvalue)
    return Welch(change, float(interval.low), float(interval.high), p)


def least_change(base: Spread, head: Spread) -> float:
    """The smallest change of the mean that `welch` calls a difference with the probability POWER,
    if the spreads of the two samples are the true ones."""
    error = _standard_error(base, head)
    if not error:
        return 0.0
    freedom = _freedom(base, head)
    quantile = float(t.ppf(1 - ALPHA / 2, freedom))
    # With no shift the power is ALPHA / 2; with ten times the quantile it is nearly 1.
    shift = brentq(lambda shift: _power(shift, freedom) - POWER, 0, 10 * quantile)
    return float(shift * error)


def values_needed(change: float, base: float, head: float) -> int | None:
    """How many values of each sample `welch` needs to call this change of the mean a difference
    with the probability POWER, if these are the true standard deviations. None if there is no
    change, or if they are more than MAX_VALUES."""
    if not change:
        return None
    sizes = range(2, MAX_VALUES + 1)
    found = bisect_left(
        sizes, -abs(change), key=lambda n: -least_change(Spread(n, base), Spread(n, head))
    )
    return sizes[found] if found < len(sizes) else None


def _power(shift: float, freedom: float) -> float:
    """How often a two-sided t-test with so many degrees of freedom finds a change of `shift`
    standard errors, in its direction: the upper tail of the noncentral t distribution.
    Source: Cohen 1988, "Statistical power analysis for the behavioral sciences", chapter 2.
    """
    quantile = t.ppf(1 - ALPHA / 2, freedom)
    return float(nct.sf(quantile, freedom, shift))


def _standard_error(base: Spread, head: Spread) -> float:
    """Of the difference of two means."""
    return sqrt(base.deviation**2 / base.n + head.deviation**2 / head.n)


def _freedom(base: Spread, head: Spread) -> float:
    """The degrees of freedom of Welch's test; one spread at least is not 0.
    Source: Satterthwaite 1946, "An approximate distribution of estimates of variance components".
    """
    first, second = (side.deviation**2 / side.n for side in (base, head))
    return (first + second) ** 2 / (first**2 / (base.n - 1) + second**2 / (head.n - 1))
