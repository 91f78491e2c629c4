"""How far a fraction of correct images can be trusted."""

from scipy.stats import binomtest


def wilson(correct: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a fraction, `correct` of `n` images, n > 0.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    interval = binomtest(correct, n).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)
