"""How often the verdicts are wrong, and how often they find a difference, by simulation.

Runs are drawn at random as real ones spread. seeds.csv has the correct images of each digit for the
default and for `train.lr=0.002`, each with ten seeds. So the right answer is known, and the
verdicts are counted. All draws have a fixed seed.
"""

from functools import cache
from math import sqrt
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy.stats import binom, ttest_ind, ttest_rel

from tools.statistics import (
    ALPHA,
    POWER,
    holm,
    least_change,
    least_flips,
    mcnemar,
    paired_t,
    pairs_needed,
)

Array = npt.NDArray[np.float64]

N = 20_000  # simulated comparisons
COUNTS = np.array([980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009])  # test images by digit
FLIPS = (124, 277)  # least and most between two of those ten networks
MEASURED = pd.read_csv(Path(__file__).with_name("seeds.csv"), index_col=["lr", "seed"])
BASE, HEAD = (MEASURED.loc[lr].to_numpy() for lr in (0.001, 0.002))  # (10 seeds, 10 digits)

mcnemar_p = cache(mcnemar)


def at_most(rate: float) -> float:
    """What a true `rate` exceeds in one simulation of a thousand."""
    return float(binom.ppf(0.999, N, rate)) / N


def random() -> np.random.Generator:
    return np.random.default_rng(2026)


def pairs(n: int, correlation: float, ratio: float = 1, change: float = 0) -> tuple[Array, Array]:
    """Accuracies of n seeds, (N, n) a side, that are `correlated` from side to side. One side
    spreads as the default does, the other `ratio` times as much."""
    deviation = BASE.sum(axis=1).std(ddof=1) / COUNTS.sum()
    common, *own = random().normal(size=(3, N, n))
    # With a negative correlation the common part has the other sign on one side.
    signs = (1, np.sign(correlation))
    base, head = (
        sqrt(1 - abs(correlation)) * noise + sqrt(abs(correlation)) * sign * common
        for noise, sign in zip(own, signs, strict=True)
    )
    return deviation * base, ratio * deviation * head + change


def test_real_runs_with_the_same_seed_go_together() -> None:
    """So the t-test is paired."""
    assert np.corrcoef(BASE.sum(axis=1), HEAD.sum(axis=1))[0, 1] == pytest.approx(0.84, abs=0.005)


def test_the_p_values_here_are_those_of_the_tool() -> None:
    base, head = pairs(5, 0.5)
    p = ttest_rel(head[:20], base[:20], axis=1).pvalue
    assert [paired_t(*pair).p for pair in zip(base[:20], head[:20], strict=True)] == pytest.approx(
        p
    )


@pytest.mark.parametrize("ratio", [1, 3])
@pytest.mark.parametrize("correlation", [-0.5, 0, 0.84])
@pytest.mark.parametrize("n", [2, 5, 10])
def test_false_alarms_about_recipes(n: int, correlation: float, ratio: float) -> None:
    base, head = pairs(n, correlation, ratio)
    assert np.mean(ttest_rel(head, base, axis=1).pvalue < ALPHA) <= at_most(ALPHA)


def test_why_the_t_test_is_paired() -> None:
    """Welch's test takes the sides for independent. So it is wrong too often where they go apart,
    and finds little where they go together. Where they are independent, it finds a little more."""
    base, head = pairs(5, -0.5)
    assert np.mean(ttest_ind(head, base, axis=1, equal_var=False).pvalue < ALPHA) > 0.09
    found = {}
    for correlation in (0.84, 0):
        base, head = pairs(5, correlation, change=0.0030)
        welch = ttest_ind(head, base, axis=1, equal_var=False).pvalue
        paired = ttest_rel(head, base, axis=1).pvalue
        found[correlation] = [round(float(np.mean(p < ALPHA)), 2) for p in (welch, paired)]
    assert found == {0.84: [0.4, 0.95], 0: [0.39, 0.33]}


def test_false_alarms_about_recipes_with_the_accuracies_that_were_measured() -> None:
    """Both sides are drawn from the same ten runs, of which one is far off."""
    accuracies = BASE.sum(axis=1) / COUNTS.sum()
    base, head = random().choice(accuracies, size=(2, N, 5))
    with np.errstate(invalid="ignore"):
        p = ttest_rel(head, base, axis=1).pvalue
    assert np.mean(p < ALPHA) <= at_most(ALPHA)


@pytest.mark.filterwarnings("ignore:Precision loss")  # where a digit is the same with each seed
def test_false_alarms_about_any_digit_of_two_recipes() -> None:
    """The digits go together as measured."""
    rates = BASE / COUNTS
    draws = random().multivariate_normal(rates.mean(axis=0), np.cov(rates.T), size=(2, N, 5))
    base, head = np.round(draws * COUNTS) / COUNTS  # (N, 5 seeds, 10 digits)
    p = ttest_rel(head, base, axis=1).pvalue  # (N, 10)
    assert any_below_alpha(p) <= at_most(ALPHA)
    assert np.mean((p < ALPHA).any(axis=1)) > 0.3  # without Holm's correction


def any_below_alpha(p: Array) -> float:
    """How often Holm's correction leaves any of ten digits."""
    return float(np.mean([min(holm(row)) < ALPHA for row in p]))


def test_false_alarms_about_networks() -> None:
    """Two networks that are equally good: each flip is as likely one way as the other."""
    flips = random().integers(*FLIPS, size=N)
    fixed = random().binomial(flips, 0.5)
    assert np.mean(network_p(fixed, flips) < ALPHA) <= at_most(ALPHA)


def test_false_alarms_about_any_digit_of_two_networks() -> None:
    flips = random().multinomial(200, COUNTS / COUNTS.sum(), size=N)  # (N, 10)
    fixed = random().binomial(flips, 0.5)
    assert any_below_alpha(network_p(fixed, flips)) <= at_most(ALPHA)


def network_p(fixed: npt.NDArray[np.int64], flips: npt.NDArray[np.int64]) -> Array:
    """The p-value of each."""
    pairs = zip(fixed.flat, (flips - fixed).flat, strict=True)
    return np.array([mcnemar_p(int(a), int(b)) for a, b in pairs]).reshape(flips.shape)


@pytest.mark.parametrize("n", [2, 5, 10])
@pytest.mark.parametrize("correlation", [0, 0.84])
def test_the_least_change_is_found_with_the_power_that_is_promised(
    n: int, correlation: float
) -> None:
    base, head = pairs(n, correlation)
    deviation = float(np.std(head - base))
    head = head + least_change(n, deviation)
    found = np.mean(ttest_rel(head, base, axis=1).pvalue < ALPHA)
    assert found == pytest.approx(POWER, abs=4 * sqrt(POWER * (1 - POWER) / N))


@pytest.mark.parametrize("flips", [*range(40), 183, 10_000])
def test_the_least_flips_are_called_a_difference_and_fewer_are_not(flips: int) -> None:
    least = least_flips(flips)
    if least is None:
        assert flips < 6
        assert mcnemar(flips, 0) >= ALPHA
    else:
        fixed = (flips + least) // 2
        assert mcnemar(fixed, flips - fixed) < ALPHA <= mcnemar(fixed - 1, flips - fixed + 1)


def test_so_many_pairs_are_needed() -> None:
    """For a change of that many standard deviations, as the program G*Power gives them."""
    assert [pairs_needed(change, 1) for change in (0.5, 0.8, 1)] == [34, 15, 10]
    assert pairs_needed(0, 1) is None
    assert pairs_needed(1, 0) == 2
    assert pairs_needed(0.001, 1) is None  # more than it looks for
