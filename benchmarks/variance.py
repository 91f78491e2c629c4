"""Measure how the test accuracy of each recipe varies with the seed.

    python -m benchmarks.variance [RECIPE ...] [--seeds 10]

In a new clone of the last commit it runs `dvc exp run --queue` with the overrides of each recipe
and `-S train.seed=range(42,52)`, then `dvc queue start`, which runs one experiment at a time.
"""

import io
import re
import time
from argparse import ArgumentParser
from pathlib import Path
from statistics import mean, median, stdev
from tempfile import TemporaryDirectory

import pandas as pd

from benchmarks import recipes
from benchmarks.processes import clone, measure
from stages.common import errors
from tools.markdown import table

FIRST = 42  # the seed of params.yaml
FINISHED = re.compile(r"^Training has finished after ([0-9.]+) s$", re.MULTILINE)


def main() -> None:
    """Fill the queue, wait until it is empty, print a row for each recipe."""
    parser = ArgumentParser(description="Train each recipe with several seeds.")
    known = recipes.read()
    parser.add_argument(
        "recipes", nargs="*", default=[*known], help=f"by default {' '.join(known)}"
    )
    parser.add_argument("--seeds", type=int, default=10, help="2 or more")
    args = parser.parse_args()
    if unknown := [name for name in args.recipes if name not in known]:
        parser.error(f"no recipe {unknown[0]!r}, only {', '.join(known)}")
    if args.seeds < 2:
        parser.error("at least 2 seeds")
    with TemporaryDirectory() as folder:
        project = Path(folder) / "clone"
        clone(project)
        for name in args.recipes:
            changes = known[name] | {"train.seed": f"range({FIRST},{FIRST + args.seeds})"}
            options = [text for key in changes for text in ("-S", f"{key}={changes[key]}")]
            measure(["dvc", "exp", "run", "--queue", "-n", name, *options], project)
        run_queue(project)
        rows = [summary(project, name, args.seeds) for name in args.recipes]
    spread = "Least - greatest"
    print(table(["Recipe", "Test accuracy", spread, "Seeds", "Training", spread], rows))


def run_queue(project: Path) -> None:
    """Let one worker run all experiments in DVC's queue.

    A worker can end early: DVC's messages are files, and one may be read before it is written.
    Then another worker is started.

    Raises:
        UserError: an experiment failed.
    """
    while True:
        status = measure(["dvc", "queue", "status"], project).output
        if "Failed" in status:
            raise errors.UserError(f"not all experiments succeeded:\n{status}")
        if "Running" not in status:
            if "Queued" not in status:
                return
            measure(["dvc", "queue", "start"], project)  # no second one where one is alive
        time.sleep(20)  # `dvc queue status` takes a second of CPU time


def summary(project: Path, recipe: str, seeds: int) -> list[str]:
    """The row of a recipe, whose experiments DVC has named RECIPE-1, RECIPE-2, and so on."""
    shown = measure(["dvc", "exp", "show", "--csv", "--no-pager"], project).output
    accuracies = pd.read_csv(io.StringIO(shown)).set_index("Experiment")["test.accuracy"]
    names = [f"{recipe}-{number}" for number in range(1, seeds + 1)]
    percent = [100 * accuracies[name] for name in names]
    logs = [measure(["dvc", "queue", "logs", name], project).output for name in names]
    seconds = [float(found[1]) for log in logs if (found := FINISHED.search(log))]
    return [
        recipe,
        f"{mean(percent):.2f} ± {stdev(percent):.2f} %",
        f"{min(percent):.2f} - {max(percent):.2f}",
        str(len(percent)),
        f"{median(seconds):.1f} s",
        f"{min(seconds):.1f} - {max(seconds):.1f}",
    ]


if __name__ == "__main__":
    errors.run(main)
