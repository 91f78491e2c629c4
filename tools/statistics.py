"""McNemar's test, the paired t-test and Holm's correction, and what the two tests can see.

How often each is wrong, and how often it finds a difference, is simulated in
tests/unit/test_error_rates.py.
"""

from bisect import bisect_left
from collections.abc import Sequence
from math import sqrt
from typing import Literal, NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binom, binomtest, nct, t

ALPHA = 0.05  # a p-value below it is called a difference
POWER = 0.8  # how often a difference should be found if it is there
LEAST_PAIRS = 3  # of two, any digit is often equal by luck, whatever the test
MAX_PAIRS = 1000  # beyond it, "more" is the answer

Verdict = Literal["better", "worse", "no evidence"]


class Difference(NamedTuple):
    """What the paired t-test says of two samples."""

    change: float  # of the mean
    deviation: float  # standard deviation of the differences, at least that of their rounding
    low: float  # 95 % interval of the change
    high: float
    p: float


def judge(change: float, p: float) -> Verdict:
    """The verdict on a change of accuracy."""
    if p >= ALPHA:
        return "no evidence"
    return "better" if change > 0 else "worse"


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


def paired_t(base: Sequence[float], head: Sequence[float], step: float) -> Difference:
    """The change of the mean from `base` to `head`, two or more values each, as pairs in order.

    The values are multiples of `step`: an accuracy is a count of images, so its step is 1 / n.
    Differences of a few such values are sometimes all equal by luck, and would have no spread and
    p = 0. So their deviation is at least that of a difference of two values rounded to the step.
    Sources: Student 1908, "The probable error of a mean"; Sheppard 1898, for the variance of a
    rounding, step^2 / 12.
    """
    differences = np.subtract(head, base)
    n, change = len(differences), float(np.mean(differences))
    deviation = max(float(np.std(differences, ddof=1)), step / sqrt(6))
    error = deviation / sqrt(n)
    margin = float(t.ppf(1 - ALPHA / 2, n - 1)) * error
    p = float(2 * t.sf(abs(change) / error, n - 1))
    return Difference(change, deviation, change - margin, change + margin, p)


def not_worse(change: float, deviation: float, n: int, margin: float) -> float:
    """The one-sided p-value that a mean falls by less than `margin`, from what `paired_t` says of n
    pairs: how often luck alone would give such a change or a better one, if it fell by just that.
    Source: Wellek 2010, "Testing statistical hypotheses of equivalence and noninferiority", on the
    paired t-test.
    """
    return float(t.sf((change + margin) / (deviation / sqrt(n)), n - 1))


def least_change(n: int, deviation: float, tail: float = ALPHA / 2) -> float:
    """The smallest change of the mean that a t-test finds with the probability POWER, from n pairs,
    if this is the true standard deviation of the differences. `tail` is the chance of a false alarm
    in its direction: ALPHA / 2 for `paired_t`, ALPHA for `not_worse`."""
    quantile = float(t.ppf(1 - tail, n - 1))
    # With no shift the power is the tail; with ten times the quantile it is nearly 1.
    shift = brentq(lambda shift: _power(shift, n, tail) - POWER, 0, 10 * quantile)
    return float(shift * deviation / sqrt(n))


def pairs_needed(change: float, deviation: float, tail: float = ALPHA / 2) -> int | None:
    """How many pairs the test needs to find this change of the mean with the probability POWER, if
    this is the true standard deviation of the differences. None if there is no change, or if they
    are more than MAX_PAIRS. For `not_worse`, the change is the margin if nothing changes."""
    if not change:
        return None
    sizes = range(LEAST_PAIRS, MAX_PAIRS + 1)
    found = bisect_left(sizes, -abs(change), key=lambda n: -least_change(n, deviation, tail))
    return sizes[found] if found < len(sizes) else None


def _power(shift: float, n: int, tail: float) -> float:
    """How often a t-test of n differences finds a change of `shift` standard errors, in its
    direction: the upper tail of the noncentral t distribution.
    Source: Cohen 1988, "Statistical power analysis for the behavioral sciences", chapter 2.
    """
    return float(nct.sf(t.ppf(1 - tail, n - 1), n - 1, shift))
