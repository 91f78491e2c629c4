"""What the benchmarks print: a median beside its range, the goals, and the machine."""

import sys
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Literal, NamedTuple

from benchmarks.processes import ROOT, Run, measure
from tools import machine, markdown


class Goal(NamedTuple):
    """A bound on the median of some measured values."""

    label: str
    values: Sequence[float]
    unit: str
    wanted: Literal["least", "most"]  # at least, at most
    bound: float


def goals(rows: Iterable[Goal]) -> str:
    """The table of the goals, and whether the values meet them."""
    cells = []
    for label, values, unit, wanted, bound in rows:
        middle = median(values)
        met = middle >= bound if wanted == "least" else middle <= bound
        limit = f"at {wanted} {bound} {unit}"
        cells.append([label, *spread(values, unit), limit, "yes" if met else "no"])
    return markdown.table(["Goal", "Median", "Least - greatest", "Wanted", "Met"], cells)


def spread(values: Sequence[float], unit: str) -> list[str]:
    """Two cells: the median with its unit, and the least and the greatest."""
    digits = 0 if unit == "MB" else 2
    middle, least, greatest = (
        f"{value:.{digits}f}" for value in (median(values), min(values), max(values))
    )
    return [f"{middle} {unit}", f"{least} - {greatest}"]


def disturbance(others: float) -> str:
    """A line that says how much CPU time other programs took, in percent."""
    return f"Other programs took at most {others:.0f} % of the CPUs (above 10 %: measure again)"


def conditions(runs: Iterable[Run]) -> str:
    """What the numbers were measured on, and whether other programs were running."""
    code = "import torch; print(torch.__version__, torch.backends.cpu.get_cpu_capability())"
    version, instructions = measure([sys.executable, "-c", code], ROOT).output.split()
    return (
        f"CPU: {machine.cpu()}\n"
        f"PyTorch {version}, its own choice of instructions: {instructions}\n"
        f"{machine.system()}\n"
        f"{disturbance(max(run.others for run in runs))}"
    )
