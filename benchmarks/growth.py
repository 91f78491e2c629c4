"""Measure how the cost of training grows with epochs, batch size, workers and experiments.

    python -m benchmarks.growth [--repeats N] [--quick]

Each training is a process of its own, on the real images. It takes about five minutes on two cores.
"""

import math
from argparse import ArgumentParser
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import attrgetter
from pathlib import Path
from statistics import linear_regression, median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tqdm import tqdm

from benchmarks import processes
from benchmarks.processes import IMAGES, Run
from benchmarks.summary import conditions
from stages.common import errors
from tools.markdown import table

EPOCHS = (1, 2, 5, 10)
BATCH_SIZES = (25, 50, 100, 200, 400)


class Case(NamedTuple):
    """A training with the default recipe, in which these values may differ."""

    epochs: int = 3
    batch_size: int = 50
    workers: int = 2
    experiments: int = 1  # at the same time, each with its own workers


ONE, ALONE, TOGETHER = Case(workers=1), Case(), Case(experiments=2)
Runs = Mapping[Case, Sequence[Run]]  # a run a repeat


def main() -> None:
    """Let the cases take turns; print a table for epochs, for batch sizes, and for sharing."""
    parser = ArgumentParser(description="Measure how the cost of training grows.")
    parser.add_argument("--repeats", type=int, default=1, help="runs of each case")
    parser.add_argument("--quick", action="store_true", help="fewer cases: does it work?")
    args = parser.parse_args()
    if args.repeats < 1:
        parser.error("at least 1 repeat")
    by_epochs = [Case(epochs=epochs) for epochs in (EPOCHS[:2] if args.quick else EPOCHS)]
    by_size = [Case(batch_size=size) for size in (BATCH_SIZES[1:3] if args.quick else BATCH_SIZES)]
    cases = dict.fromkeys([*by_epochs, *by_size, ONE, ALONE, TOGETHER])  # each once

    runs: dict[Case, list[Run]] = {case: [] for case in cases}
    with TemporaryDirectory() as folder:
        for case in tqdm(args.repeats * list(cases), leave=False, disable=None):
            runs[case].append(train(case, Path(folder)))

    alone = [run for case in cases if case.experiments == 1 for run in runs[case]]
    print(epochs(by_epochs, runs), sizes(by_size, runs), sharing(runs), sep="\n\n")
    print("", conditions(alone), sep="\n")


def train(case: Case, scratch: Path) -> Run:
    """Run the experiments of the case at the same time; return the longest run."""
    overrides = {"train.epochs": case.epochs, "train.batch_size": case.batch_size}
    outs = [scratch / str(number) for number in range(case.experiments)]
    with ThreadPoolExecutor(case.experiments) as pool:
        runs = pool.map(lambda out: processes.train(out, overrides, workers=case.workers), outs)
    return max(runs, key=attrgetter("seconds"))


def epochs(cases: Iterable[Case], runs: Runs) -> str:
    """The table of the time of a whole process by its epochs, and the line of least squares."""
    points = [(case.epochs, whole(runs[case])) for case in cases]
    slope, start = linear_regression(*zip(*points, strict=True))
    rows = [
        [str(count), f"{seconds:.2f} s", f"{seconds / count:.2f} s"] for count, seconds in points
    ]
    header = ["Epochs", "Whole process", "For each epoch"]
    return (
        f"{table(header, rows)}\n\nLine of least squares: {start:.2f} s, and {slope:.2f} s an epoch"
    )


def sizes(cases: Iterable[Case], runs: Runs) -> str:
    """The table of the time of an epoch and of a step, and of the memory, by the batch size."""
    rows = []
    for case in cases:
        seconds, steps = an_epoch(runs[case]), math.ceil(IMAGES / case.batch_size)
        cells = f"{steps:,}", f"{seconds:.2f} s", f"{1000 * seconds / steps:.2f} ms"
        memory = median(run.megabytes for run in runs[case])
        rows.append([str(case.batch_size), *cells, f"{memory:.0f} MB"])
    return table(["Batch size", "Steps an epoch", "An epoch", "A step", "Peak memory"], rows)


def sharing(runs: Runs) -> str:
    """The table of what a second worker gains, and what it costs to run a second experiment."""
    rows = []
    for label, case, times in (
        ("One experiment, two workers", ALONE, 1),
        ("One experiment, one worker", ONE, 1),
        ("Two at once, two workers each", TOGETHER, 1),
        ("Two, one after the other", ALONE, 2),
    ):
        seconds = times * an_epoch(runs[case]), times * whole(runs[case])
        ratio = seconds[1] / whole(runs[ALONE])
        rows.append([label, *(f"{value:.2f} s" for value in seconds), f"{ratio:.2f} x"])
    header = ["Until all are done", "An epoch", f"{ALONE.epochs} epochs, whole process", "Ratio"]
    return table(header, rows)


def an_epoch(runs: Iterable[Run]) -> float:
    """The median seconds of an epoch; the first epoch of each run is left out."""
    return median(seconds for run in runs for seconds in run.epochs())


def whole(runs: Iterable[Run]) -> float:
    """The median seconds from start to end."""
    return median(run.seconds for run in runs)


if __name__ == "__main__":
    errors.run(main)
