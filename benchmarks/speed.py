"""Measure time and memory of the pipeline and its recipes, beside the notebook's training.

    python -m benchmarks.speed [--repeats 3] [--curves docs/recipes.png]

All runs in a clone of the last commit, each in a process of its own. The contestants take turns,
so that a slow minute of the machine affects all of them. The tables show medians and ranges.

Nothing here imports torch, for the reason given in measure.py.
"""

from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from operator import attrgetter
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from tqdm import tqdm

from benchmarks import curves, recipes
from benchmarks.measure import Run, clone, conditions, measure
from benchmarks.recipes import SPRINT, TUNED
from stages.common import errors
from tools.dvc_files import DATA, EPOCHS, Output, locate, read_pipeline
from tools.git import PARAMS, WORKSPACE
from tools.markdown import table
from tools.yaml_files import set_values

NOTEBOOK, DEFAULT, ONE_WORKER = "notebook", "default", "default, one worker"
REPRO, NOTHING, COMPARE = "dvc repro", "dvc repro, nothing to do", "tools.compare"
TRAININGS = (NOTEBOOK, DEFAULT, ONE_WORKER, SPRINT, TUNED)
COMMANDS = (REPRO, NOTHING, COMPARE)
LEAST, MOST = "at least", "at most"
CHECKPOINTS = Output("train", "outs", "checkpoints")
IMAGES = 60_000  # an epoch


Runs = Mapping[str, Sequence[Run]]  # by contestant, one for each turn


def main() -> None:
    """Let the contestants take turns; print the measurements, the goals and the machine."""
    parser = ArgumentParser(description="Measure time and memory.")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each contestant")
    parser.add_argument("--quick", action="store_true", help="two epochs each: does it work?")
    parser.add_argument("--curves", type=Path, help="draw accuracy against time into this PNG")
    args = parser.parse_args()
    if args.repeats < 1:
        parser.error("at least 1 repeat")

    runs: dict[str, list[Run]] = {}
    with TemporaryDirectory() as folder:
        project = Path(folder) / "clone"
        clone(project)
        measure(["dvc", "repro", "download"], project, MNIST_DIR=str(locate(DATA).absolute()))
        for _ in tqdm(range(args.repeats), "Turns", leave=False, disable=None):
            for name, run in take_turns(project, 2 if args.quick else None):
                runs.setdefault(name, []).append(run)

    print(training_table(runs), command_table(runs), goal_table(runs), sep="\n\n", end="\n\n")
    print(f"Turns: {args.repeats}\n{conditions(chain.from_iterable(runs.values()))}")
    if args.curves:
        drawn = {name: curve(runs[name]) for name in (NOTEBOOK, DEFAULT, SPRINT, TUNED)}
        curves.draw(drawn).savefig(args.curves, dpi=100, metadata={"Software": None})


def take_turns(project: Path, epochs: int | None) -> Iterator[tuple[str, Run]]:
    """Run each contestant once. All train for so many epochs, if a number is given. The last two
    need what `dvc repro` leaves."""
    stage = read_pipeline(WORKSPACE).command("train")
    notebook = ["-m", "benchmarks.notebook", "data", "models"]
    same = {"train.epochs": epochs} if epochs else {}
    yield NOTEBOOK, train(project, [*notebook, *([f"--epochs={epochs}"] if epochs else [])], {})
    yield DEFAULT, train(project, stage, same)
    yield ONE_WORKER, train(project, [*stage, "--workers=1"], same)
    for recipe in (SPRINT, TUNED):
        yield recipe, train(project, stage, recipes.read(recipe) | same)
    reset(project)
    yield REPRO, measure(["dvc", "repro", "--force", "--downstream", "train"], project)
    yield NOTHING, measure(["dvc", "repro"], project)
    yield COMPARE, measure(["python", "-m", "tools.compare", "HEAD"], project)


def train(project: Path, command: Sequence[str], overrides: Mapping[str, Any]) -> Run:
    """Let a Python program train, with other values for some parameters. Then score each epoch."""
    reset(project)
    set_values(project / PARAMS, overrides)
    run = measure(["python", *command], project)
    pipeline = read_pipeline(WORKSPACE)
    checkpoints = (project / pipeline.path(CHECKPOINTS)).iterdir()  # each written after its epoch
    ends = sorted(path.stat().st_mtime - run.start for path in checkpoints)
    measure(["python", *pipeline.command("evaluate")], project)
    scores = pd.read_csv(project / pipeline.path(EPOCHS))
    return replace(run, ends=ends, accuracies=scores["accuracy"].tolist())


def reset(project: Path) -> None:
    """Only the commit and MNIST are left in the clone, and DVC's cache."""
    measure(["git", "checkout", "--quiet", "."], project)
    kept = ["--exclude=/data", "--exclude=/.dvc"]
    measure(["git", "clean", "--quiet", "--force", "-dx", *kept], project)


def training_table(runs: Runs) -> str:
    """The table of all ways to train."""
    rows = []
    for name in TRAININGS:
        epochs = [seconds for run in runs[name] for seconds in run.epochs()]
        rows.append(
            [
                name,
                str(len(runs[name][0].ends)),
                *spread(epochs, "s"),
                f"{IMAGES / median(epochs):,.0f}",
                time_to(0.99, curve(runs[name])),
                f"{median(run.seconds for run in runs[name]):.1f} s",
                f"{median(run.megabytes for run in runs[name]):.0f} MB",
            ]
        )
    header = ["Training", "Epochs", "An epoch", "Least - greatest", "Images/s"]
    return table([*header, "To 99 %", "Process", "Peak memory"], rows)


def curve(turns: Sequence[Run]) -> list[tuple[float, float]]:
    """For each epoch: the median end, in seconds since the process began, and the accuracy."""
    ends = zip(*(run.ends for run in turns), strict=True)
    return [(median(end), score) for end, score in zip(ends, turns[0].accuracies, strict=True)]


def time_to(goal: float, points: Sequence[tuple[float, float]]) -> str:
    """The time of the first accuracy that reaches the goal; a dash if none does."""
    return next((f"{end:.1f} s" for end, accuracy in points if accuracy >= goal), "-")


def command_table(runs: Runs) -> str:
    """The table of the commands around training."""
    rows = [[name, *spread([run.seconds for run in runs[name]], "s")] for name in COMMANDS]
    return table(["Command", "Median", "Least - greatest"], rows)


def goal_table(runs: Runs) -> str:
    """The table of what the project promises, and whether this was kept."""
    epoch, epochs = Run.epoch, Run.all_epochs
    seconds, megabytes = attrgetter("seconds"), attrgetter("megabytes")

    def ratio(upper: str, lower: str, quantity: Callable[[Run], float]) -> list[float]:
        return ratios(map(quantity, runs[upper]), map(quantity, runs[lower]))

    rows = [
        goal("An epoch: notebook / default", ratio(NOTEBOOK, DEFAULT, epoch), "x", LEAST, 2.5),
        goal("Epochs: notebook / sprint", ratio(NOTEBOOK, SPRINT, epochs), "x", LEAST, 8),
        goal("Epochs: tuned / notebook", ratio(TUNED, NOTEBOOK, epochs), "x", MOST, 1),
        goal("Whole: dvc repro / notebook", ratio(REPRO, NOTEBOOK, seconds), "x", MOST, 0.45),
        goal("Peak memory: default", map(megabytes, runs[DEFAULT]), "MB", MOST, 700),
        goal("Nothing to do: dvc repro", map(seconds, runs[NOTHING]), "s", MOST, 1.5),
        goal("Two revisions: tools.compare", map(seconds, runs[COMPARE]), "s", MOST, 2),
    ]
    return table(["Goal", "Median", "Least - greatest", "Wanted", "Met"], rows)


def ratios(upper: Iterable[float], lower: Iterable[float]) -> list[float]:
    """One contestant's quantity divided by the other's, within each turn: there both sides ran on
    the same machine in the same minutes."""
    return [a / b for a, b in zip(upper, lower, strict=True)]


def goal(label: str, values: Iterable[float], unit: str, wanted: str, bound: float) -> list[str]:
    """A row: the values, the bound on their median (LEAST or MOST), and whether it is met."""
    turns = list(values)
    met = median(turns) >= bound if wanted == LEAST else median(turns) <= bound
    return [label, *spread(turns, unit), f"{wanted} {bound} {unit}", "yes" if met else "no"]


def spread(values: Sequence[float], unit: str) -> list[str]:
    """Two cells: the median with its unit, and the least and the greatest."""
    digits = 0 if unit == "MB" else 2
    middle, least, greatest = (
        f"{value:.{digits}f}" for value in (median(values), min(values), max(values))
    )
    return [f"{middle} {unit}", f"{least} - {greatest}"]


if __name__ == "__main__":
    errors.run(main)
