"""McNemar's test, Welch's test and Holm's correction. SciPy has the first two."""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest, ttest_ind

ALPHA = 0.05  # a p-value below it is called a difference


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
