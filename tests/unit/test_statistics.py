"""The statistics, each against what another source gives: exact arithmetic, a textbook, SciPy."""

from fractions import Fraction
from itertools import product
from math import atan, comb, pi, sqrt, tan

import pytest
from scipy.stats import binomtest

from stages.common.intervals import Rate, rate, wilson
from tools.statistics import holm, mcnemar, not_worse, paired_t

exactly = 1e-12


def binomial_p(fixed: int, broken: int) -> float:
    """Twice the smaller tail of a fair coin, at most 1."""
    flips = fixed + broken
    tail = sum(Fraction(comb(flips, k), 2**flips) for k in range(min(fixed, broken) + 1))
    return float(min(Fraction(1), 2 * tail))


def test_mcnemar_is_the_exact_binomial_test() -> None:
    assert binomial_p(1, 7) == 18 / 256  # (1 + 8) of 256 sequences of eight flips, times two
    counts = (0, 1, 2, 7, 34, 52, 133, 400)
    for fixed, broken in product(counts, counts):
        assert mcnemar(fixed, broken) == pytest.approx(
            binomial_p(fixed, broken), rel=exactly, abs=0
        )


def test_wilson_is_what_scipy_gives() -> None:
    for correct, n in ((0, 1), (1, 1), (2, 3), (0, 892), (863, 892), (892, 892), (9805, 10_000)):
        interval = binomtest(correct, n).proportion_ci(confidence_level=0.95, method="wilson")
        assert wilson(correct, n) == pytest.approx((interval.low, interval.high), abs=exactly)
        assert 0 <= min(wilson(correct, n)) <= max(wilson(correct, n)) <= 1


def test_a_rate_by_hand() -> None:
    # (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n) with z = 1.96
    row = rate(8, 10)
    assert row == Rate(8, 10, 0.8, row.low, row.high)
    assert (row.low, row.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_holm_by_hand() -> None:
    # Ascending 0.005, 0.01, 0.03, 0.04, times 4, 3, 2, 1; the last may not be below the third.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02], rel=exactly)
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


def test_paired_t_by_hand() -> None:
    # Differences of 1 and 3: a standard error of 1, one degree of freedom, for which Student's
    # distribution is Cauchy's, with the tail 1 - 2 atan(t) / pi, two-sided.
    result = paired_t([5, 0], [6, 3], 1)
    assert (result.change, result.deviation) == pytest.approx((2, sqrt(2)), rel=exactly)
    assert result.p == pytest.approx(1 - 2 * atan(2) / pi, rel=exactly)
    quantile = tan(0.95 * pi / 2)  # the inverse of that tail
    assert result.low == pytest.approx(2 - quantile, rel=exactly)
    assert result.high == pytest.approx(2 + quantile, rel=exactly)


def test_paired_t_sees_a_small_change_of_values_that_differ_widely() -> None:
    assert paired_t([0.1, 0.5, 0.9], [0.11, 0.51, 0.9101], 1e-6).p < 0.001


@pytest.mark.filterwarnings("error")
def test_paired_t_of_equal_differences_has_the_spread_of_rounded_values() -> None:
    """With 2 degrees of freedom, p is 1 - t / √(t² + 2)."""
    for change in (0, 1, 2, 10):  # images
        base = [0.97, 0.98, 0.975]
        result = paired_t(base, [count + change / 1000 for count in base], 1 / 1000)
        t = change * sqrt(3 * 6)
        assert result.p == pytest.approx(1 - t / sqrt(t**2 + 2), rel=1e-6)
        assert result.deviation == pytest.approx(1 / 1000 / sqrt(6), rel=exactly)


def test_not_worse_by_hand() -> None:
    # A loss of 2 with an error of 1 is 3 errors from a margin of 5; the tail as above, one-sided.
    loss = paired_t([6, 3], [5, 0], 1)
    p = not_worse(loss.change, loss.deviation, 2, 5)
    assert p == pytest.approx(0.5 - atan(3) / pi, rel=exactly)
    assert not_worse(loss.change, loss.deviation, 2, 2) == pytest.approx(0.5, rel=exactly)
