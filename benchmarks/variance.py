"""Train each recipe with several seeds, as experiments in DVC's queue; print how they spread.

    python -m benchmarks.variance [--seeds 10]

What it runs, in a new clone of the last commit, is `dvc exp run --queue` with the options of the
recipe and `-S train.seed=range(42,52)`, then `dvc queue start`: one experiment at a time.
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
from benchmarks.speed import DATA, ROOT, measure
from stages.common import errors
from tools.markdown import table

FIRST = 42  # the seed of params.yaml
FINISHED = re.compile(r"^Training has finished after ([0-9.]+) s$", re.MULTILINE)


def main() -> None:
    """Fill the queue, wait, print a row a recipe."""
    parser = ArgumentParser(description="Train each recipe with several seeds.")
    parser.add_argument("--seeds", type=int, default=10, help="2 or more")
    args = parser.parse_args()
    if args.seeds < 2:
        parser.error("at least 2 seeds")
    with TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        measure(["git", "clone", "--quiet", ROOT, clone], ROOT)
        measure(["dvc", "repro", "download"], clone, MNIST_DIR=str(DATA))
        for name, overrides in recipes.read().items():
            changes = overrides | {"train.seed": f"range({FIRST},{FIRST + args.seeds})"}
            options = [text for key in changes for text in ("-S", f"{key}={changes[key]}")]
            measure(["dvc", "exp", "run", "--queue", "-n", name, *options], clone)
        run_queue(clone)
        rows = [summary(clone, name, args.seeds) for name in recipes.read()]
    header = [
        "Recipe",
        "Test accuracy",
        "Least - greatest",
        "Seeds",
        "Training",
        "Least - greatest",
    ]
    print(table(header, rows))


def run_queue(clone: Path) -> None:
    """Let one worker empty DVC's queue.

    Raises:
        UserError: an experiment failed.
    """
    measure(["dvc", "queue", "start"], clone)
    while True:
        status = measure(["dvc", "queue", "status"], clone).output
        if "Failed" in status:
            raise errors.UserError(f"not all experiments succeeded:\n{status}")
        if "Queued" not in status and "Running" not in status:
            return
        time.sleep(20)  # each look takes a second of the machine's time


def summary(clone: Path, recipe: str, seeds: int) -> list[str]:
    """The row of a recipe, whose experiments DVC called NAME-1, NAME-2, and so on."""
    shown = measure(["dvc", "exp", "show", "--csv", "--no-pager"], clone).output
    accuracies = pd.read_csv(io.StringIO(shown)).set_index("Experiment")["test.accuracy"]
    names = [f"{recipe}-{number}" for number in range(1, seeds + 1)]
    percent = [100 * accuracies[name] for name in names]
    logs = [measure(["dvc", "queue", "logs", name], clone).output for name in names]
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
