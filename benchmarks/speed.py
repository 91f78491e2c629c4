"""Measure time and memory of the pipeline and its recipes, beside the notebook's training.

    python -m benchmarks.speed [--quick] [--curves docs/recipes.png]

Each number comes from a process of its own. The contestants take turns, `--repeats` times, so
that a slow minute of the machine affects all of them. The tables show medians and ranges.

This file does not import torch, for the reason given in processes.py.
"""

import shutil
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tqdm import tqdm

from benchmarks import curves, recipes, summary
from benchmarks.processes import (
    IMAGES,
    ROOT,
    Run,
    arguments,
    clone,
    data_folder,
    measure,
    python,
    train,
    with_epochs,
)
from benchmarks.recipes import SPRINT, TUNED
from benchmarks.summary import Goal, spread
from stages.common import errors, tables
from tools.markdown import table

NOTEBOOK, TRAIN, UNPINNED, WITHOUT_PROGRESS, ONE_WORKER, REPRO, NOTHING, COMPARE = (
    "notebook", "train", "train, settings off", "train, no progress kept", "train, one worker",
    "dvc repro", "dvc repro, nothing to do", "tools.compare",
)  # fmt: skip
TRAININGS = (NOTEBOOK, TRAIN, UNPINNED, WITHOUT_PROGRESS, ONE_WORKER, SPRINT, TUNED)

Runs = Mapping[str, list[Run]]  # contestant: a run a repeat
Accuracies = Mapping[str, list[float]]  # training: on the test images, after each epoch


def main() -> None:
    """Let the contestants take turns; print the measurements, the goals and the machine."""
    parser = ArgumentParser(description="Measure time and memory.")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each contestant")
    parser.add_argument(
        "--epochs", type=int, default=5, help="2 or more; sprint and tuned have their own"
    )
    parser.add_argument("--quick", action="store_true", help="one repeat, two epochs")
    parser.add_argument("--curves", type=Path, help="draw accuracy against time into this PNG")
    args = parser.parse_args()
    repeats, epochs = (1, 2) if args.quick else (args.repeats, args.epochs)
    if repeats < 1 or epochs < 2:
        parser.error("at least 1 repeat and 2 epochs")

    changed = ["git", "status", "--porcelain", "--", "dvc.yaml", "params.yaml", "stages"]
    if measure(changed, ROOT).output:
        print("Note: `dvc repro` is measured without your uncommitted changes", file=sys.stderr)

    runs: dict[str, list[Run]] = {}
    with TemporaryDirectory() as folder:
        turns = contestants(Path(folder), epochs)
        with tqdm(total=repeats * len(turns), leave=False, disable=None) as bar:
            for repeat in range(1, repeats + 1):
                for name, run in turns.items():
                    bar.set_description(f"Repeat {repeat}: {name}")
                    runs.setdefault(name, []).append(run())
                    bar.update()
        accuracies = {name: score(Path(folder) / name) for name in TRAININGS}

    print(trainings(runs, accuracies), commands(runs), goals(runs), sep="\n\n", end="\n\n")
    everything = [run for contestant in runs.values() for run in contestant]
    print(f"Medians over {repeats} turns\n{summary.conditions(everything)}")
    if args.curves:
        names = {NOTEBOOK: "notebook", TRAIN: "default", SPRINT: "sprint", TUNED: "tuned"}
        drawn = {label: curve(runs[name], accuracies[name]) for name, label in names.items()}
        curves.draw(drawn).savefig(args.curves, dpi=100, metadata={"Software": None})


def contestants(scratch: Path, epochs: int) -> dict[str, Callable[[], Run]]:
    """All that is measured, in the order of the turns. NOTHING and COMPARE use the clone in which
    REPRO ran."""
    same = {"train.epochs": epochs}
    recipe = recipes.read()
    project = scratch / "clone"
    return {
        NOTEBOOK: partial(notebook, scratch / NOTEBOOK, epochs),
        TRAIN: partial(train, scratch / TRAIN, same),
        UNPINNED: partial(train, scratch / UNPINNED, same, module="benchmarks.unpinned"),
        WITHOUT_PROGRESS: partial(
            train, scratch / WITHOUT_PROGRESS, same, module="benchmarks.without_progress"
        ),
        ONE_WORKER: partial(train, scratch / ONE_WORKER, same, workers=1),
        SPRINT: partial(train, scratch / SPRINT, recipe[SPRINT]),
        TUNED: partial(train, scratch / TUNED, recipe[TUNED]),
        REPRO: partial(repro, project, epochs),
        NOTHING: partial(measure, ["dvc", "repro"], project),
        COMPARE: partial(measure, [sys.executable, "-m", "tools.compare", "HEAD"], project),
    }


def notebook(out: Path, epochs: int) -> Run:
    """Run the whole notebook. It writes its pictures and its weights to `out`."""
    root = data_folder().parents[1]  # that of torchvision.datasets.MNIST
    run = python("benchmarks.notebook", root, out, f"--epochs={epochs}")
    return with_epochs(run, out)


def score(out: Path) -> list[float]:
    """The accuracy on the test images of each checkpoint in `out`."""
    python("stages.evaluate", *arguments("evaluate", out))
    scores = tables.read(out / "epochs.csv", tables.EpochScores, ["accuracy"])
    return [float(accuracy) for accuracy in scores["accuracy"]]


def repro(project: Path, epochs: int) -> Run:
    """Run `dvc repro` in a new clone in which only the download is done: train, evaluate, plot.

    Raises:
        UserError: it fails, or DVC did not run all three stages.
    """
    clone(project)
    params = project / "params.yaml"
    recipes.apply({"train.epochs": epochs}, params, params)
    shutil.rmtree(project / "metrics")  # these are committed
    run = measure(["dvc", "repro"], project)
    if run.output.count("Running stage") != 3:
        raise errors.UserError(f"`dvc repro` did not run three stages:\n{run.output}")
    return run


def trainings(runs: Runs, accuracies: Accuracies) -> str:
    """The table of all ways to train.

    "Others" is the greatest share of the CPUs that other programs took. Above a few percent the
    row is not reliable. The notebook's row suffers most, because PyTorch's own threads wait for
    each other at every operation.
    """
    rows = []
    for name in TRAININGS:
        epochs = [seconds for run in runs[name] for seconds in run.epochs()]
        rows.append(
            [
                name,
                str(len(accuracies[name])),
                *spread(epochs, "s"),
                f"{IMAGES / median(epochs):,.0f}",
                time_to(0.99, curve(runs[name], accuracies[name])),
                f"{median(run.seconds for run in runs[name]):.1f} s",
                f"{median(run.megabytes for run in runs[name]):.0f} MB",
                f"{max(run.others for run in runs[name]):.0f} %",
            ]
        )
    header = ["Training", "Epochs", "An epoch", "Least - greatest", "Images/s"]
    return table([*header, "To 99 %", "Process", "Peak memory", "Others"], rows)


def curve(runs: Sequence[Run], accuracies: Sequence[float]) -> list[tuple[float, float]]:
    """For each epoch: the median end, in seconds since the process began, and the accuracy."""
    ends = zip(*(run.ends for run in runs), strict=True)
    return [(median(end), accuracy) for end, accuracy in zip(ends, accuracies, strict=True)]


def time_to(goal: float, points: Sequence[tuple[float, float]]) -> str:
    """The time of the first accuracy that reaches the goal; a dash if none does."""
    return next((f"{end:.1f} s" for end, accuracy in points if accuracy >= goal), "-")


def commands(runs: Runs) -> str:
    """The table of the commands around training."""
    return table(
        ["Command", "Median", "Least - greatest", "Others"],
        [
            [
                name,
                *spread([run.seconds for run in runs[name]], "s"),
                f"{max(run.others for run in runs[name]):.0f} %",
            ]
            for name in (REPRO, NOTHING, COMPARE)
        ],
    )


def goals(runs: Runs) -> str:
    """The table of what the project promises, and whether this run kept it. A ratio is formed
    within each repeat, where both sides ran on the same machine in the same minutes."""
    epoch, training = Run.epoch, Run.training
    seconds, megabytes = attrgetter("seconds"), attrgetter("megabytes")

    def ratio(quantity: Callable[[Run], float], upper: str, lower: str) -> list[float]:
        return ratios(runs, quantity, upper, lower)

    return summary.goals(
        [
            Goal("An epoch: notebook / train", ratio(epoch, NOTEBOOK, TRAIN), "x", "least", 2.5),
            Goal("The same, settings off", ratio(epoch, NOTEBOOK, UNPINNED), "x", "least", 3),
            Goal("Progress kept / not", ratio(epoch, TRAIN, WITHOUT_PROGRESS), "x", "most", 1.03),
            Goal("Epochs: notebook / sprint", ratio(training, NOTEBOOK, SPRINT), "x", "least", 8),
            Goal("Epochs: tuned / notebook", ratio(training, TUNED, NOTEBOOK), "x", "most", 1),
            Goal("Whole: dvc repro / notebook", ratio(seconds, REPRO, NOTEBOOK), "x", "most", 0.45),
            Goal("Peak memory: train", list(map(megabytes, runs[TRAIN])), "MB", "most", 700),
            Goal("Nothing to do: dvc repro", list(map(seconds, runs[NOTHING])), "s", "most", 1.5),
            Goal("Two revisions: tools.compare", list(map(seconds, runs[COMPARE])), "s", "most", 2),
        ]
    )


def ratios(runs: Runs, quantity: Callable[[Run], float], upper: str, lower: str) -> list[float]:
    """In each repeat, one contestant's quantity divided by the other's."""
    pairs = zip(runs[upper], runs[lower], strict=True)
    return [quantity(a) / quantity(b) for a, b in pairs]


if __name__ == "__main__":
    errors.run(main)
