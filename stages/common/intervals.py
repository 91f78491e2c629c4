"""How far a fraction of correct images can be trusted."""

from dataclasses import dataclass

from scipy.stats import binomtest


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

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    interval = binomtest(correct, n).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)
