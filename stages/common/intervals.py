"""How far a fraction of correct images can be trusted."""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

Z = NormalDist().inv_cdf(0.975)  # 1.96: 95 % of a normal distribution is within Z deviations


@dataclass(frozen=True)
class Rate:
    """How many of n images are classified as labelled."""

    correct: int
    n: int
    accuracy: float  # correct / n
    low: float  # of the 95 % interval (Wilson)
    high: float


def rate(correct: int, n: int) -> Rate:
    """The accuracy on n images, n > 0, with its interval."""
    return Rate(correct, n, correct / n, *wilson(correct, n))


def wilson(correct: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a fraction, `correct` of `n` images, n > 0.

    Written out here, because `scipy.stats` takes as long to import as all else that `plot` does.
    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    p = correct / n
    middle = p + Z**2 / (2 * n)
    half = Z * sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    scale = 1 + Z**2 / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)
