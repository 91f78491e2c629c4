"""Measure time and memory of the pipeline and its recipes, beside the notebook's training.

    python -m benchmarks.speed [--quick] [--curves docs/recipes.png]

Each number comes from a process of its own. The contestants take turns, `--repeats` times, so
that a slow minute of the machine hits all of them; the tables show the median, least and greatest.
"""

import csv
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, TemporaryFile
from typing import NamedTuple

from tqdm import tqdm

from benchmarks import curves, recipes
from benchmarks.recipes import SPRINT, TUNED
from stages.common import errors
from tools.markdown import table

# No import of torch here: a child counts the memory of the process that started it as its own.

ROOT = recipes.ROOT
DATA = ROOT / "data/MNIST/raw"
NOTEBOOK, TRAIN, UNPINNED, WITHOUT_PROGRESS, ONE_WORKER, REPRO, NOTHING, COMPARE = (
    "notebook", "train", "train, settings off", "train, no progress kept", "train, one worker",
    "dvc repro", "dvc repro, nothing to do", "tools.compare",
)  # fmt: skip
TRAININGS = (NOTEBOOK, TRAIN, UNPINNED, WITHOUT_PROGRESS, ONE_WORKER, SPRINT, TUNED)
IMAGES = 60_000  # an epoch


class Run(NamedTuple):
    """What one process took."""

    output: str
    start: float  # seconds, as in the time of files
    seconds: float  # from start to end
    megabytes: float  # at its peak, 10^6 bytes
    others: float  # percentage of the machine's CPU time that other programs took meanwhile
    ends: Sequence[float] = ()  # seconds from the start to the end of each epoch

    def epochs(self) -> list[float]:
        """The seconds of each epoch but the first, whose start is not known."""
        return [end - start for start, end in pairwise(self.ends)]

    def epoch(self) -> float:
        """The seconds of a typical epoch."""
        return median(self.epochs())

    def training(self) -> float:
        """The seconds of all epochs, without start-up and without loading the images."""
        return len(self.ends) * self.epoch()


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
    if not DATA.exists():
        raise errors.UserError(f"{DATA}: not found; get it with `dvc repro download`")

    changed = ["git", "status", "--porcelain", "--", "dvc.yaml", "params.yaml", "stages"]
    if measure(changed, ROOT).output:
        print("Note: dvc repro is measured as committed, all else as changed", file=sys.stderr)

    runs: dict[str, list[Run]] = {}
    with TemporaryDirectory() as folder:
        turns = contestants(Path(folder), epochs)
        with tqdm(total=repeats * len(turns), leave=False) as bar:
            for repeat in range(1, repeats + 1):
                for name, run in turns.items():
                    bar.set_description(f"Repeat {repeat}: {name}")
                    runs.setdefault(name, []).append(run())
                    bar.update()
        accuracies = {name: score(Path(folder) / name) for name in TRAININGS}

    print(trainings(runs, accuracies), commands(runs), goals(runs), sep="\n\n", end="\n\n")
    print(f"Medians over {repeats} turns\n{machine(runs)}")
    if args.curves:
        names = {NOTEBOOK: "notebook", TRAIN: "default", SPRINT: "sprint", TUNED: "tuned"}
        drawn = {label: curve(runs[name], accuracies[name]) for name, label in names.items()}
        curves.draw(drawn).savefig(args.curves, dpi=100, metadata={"Software": None})


def contestants(scratch: Path, epochs: int) -> dict[str, Callable[[], Run]]:
    """All that is measured, in the order of the turns. NOTHING and COMPARE come after REPRO, in its
    clone."""
    same = {"train.epochs": epochs}
    recipe = recipes.read()
    clone = scratch / "clone"
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
        REPRO: partial(repro, clone, epochs),
        NOTHING: partial(measure, ["dvc", "repro"], clone),
        COMPARE: partial(measure, [sys.executable, "-m", "tools.compare", "HEAD"], clone),
    }


def notebook(out: Path, epochs: int) -> Run:
    """The whole notebook, which leaves its weights after each epoch in `out`."""
    options = [f"--epochs={epochs}"]
    module = "benchmarks.notebook"
    return trained(out, measure([sys.executable, "-m", module, ROOT / "data", out, *options], ROOT))


def train(
    out: Path, overrides: recipes.Overrides, module: str = "stages.train", workers: int = 2
) -> Run:
    """The train stage."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    recipes.apply(overrides, ROOT / "params.yaml", out / "params.yaml")
    names = ("model.safetensors", "checkpoints", "first_images.idx", "history.csv", "progress")
    paths = [DATA, *(out / name for name in names)]
    options = [f"--params={out / 'params.yaml'}", f"--workers={workers}"]
    return trained(out, measure([sys.executable, "-m", module, *paths, *options], ROOT))


def trained(out: Path, run: Run) -> Run:
    """The run, with the end of each epoch: when its checkpoint was written. So start-up and
    loading are in no epoch but the first, and training need not know that it is measured."""
    ends = sorted(path.stat().st_mtime for path in (out / "checkpoints").iterdir())
    return run._replace(ends=[end - run.start for end in ends])


def score(out: Path) -> list[float]:
    """The accuracy on the test images of each checkpoint in `out`."""
    inputs = [DATA, out / "model.safetensors", out / "checkpoints"]
    outputs = [out / name for name in ("metrics.json", "predictions.csv", "epochs.csv")]
    measure([sys.executable, "-m", "stages.evaluate", *inputs, *outputs], ROOT)
    with (out / "epochs.csv").open(encoding="utf-8", newline="") as file:
        return [float(row["accuracy"]) for row in csv.DictReader(file)]


def repro(clone: Path, epochs: int) -> Run:
    """`dvc repro` of the last commit when only the download is done: train, evaluate, plot. The
    clone is new, so that DVC's cache cannot give the outputs without running the stages."""
    shutil.rmtree(clone, ignore_errors=True)
    measure(["git", "clone", "--quiet", ROOT, clone], ROOT)
    params = clone / "params.yaml"
    recipes.apply({"train.epochs": epochs}, params, params)
    measure(["dvc", "repro", "download"], clone, MNIST_DIR=str(DATA))
    shutil.rmtree(clone / "metrics")  # these are committed
    run = measure(["dvc", "repro"], clone)
    if run.output.count("Running stage") != 3:
        raise errors.UserError(f"`dvc repro` did not run three stages:\n{run.output}")
    return run


def measure(command: Sequence[str | Path], folder: Path, **variables: str) -> Run:
    """Run `command` in `folder`, with `variables` in its environment.

    Raises:
        UserError: it fails; the message is what it printed.
    """
    environment = os.environ | variables
    environment.pop("PIPELINE_WORKERS", None)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment["DVC_SITE_CACHE_DIR"] = str(folder / ".dvc/tmp/site")  # goes with the clone
    with TemporaryFile("w+", encoding="utf-8") as output:
        before, start, date = busy_seconds(), time.perf_counter(), time.time()
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds, busy = time.perf_counter() - start, busy_seconds() - before
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise errors.UserError(f"{' '.join(map(str, command))} failed:\n{text}")
    others = max(0.0, busy - usage.ru_utime - usage.ru_stime) / (seconds * (os.cpu_count() or 1))
    unit = 1 if sys.platform == "darwin" else 1024  # bytes
    return Run(text, date, seconds, usage.ru_maxrss * unit / 1e6, others * 100)


def busy_seconds() -> float:
    """CPU time that all programs together have used since the machine started (Linux, else 0)."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").split()[1:9]
    except OSError:
        return 0.0
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def trainings(runs: Runs, accuracies: Accuracies) -> str:
    """The table of all ways to train. "Others" is the share of the CPUs that other programs took,
    at most: above a few percent the row is not to be trusted, the notebook's least of all, since
    PyTorch's own threads wait for each other at every operation."""
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
    """For each epoch when it ended, in seconds since the process began, and the accuracy then."""
    ends = zip(*(run.ends for run in runs), strict=True)
    return [(median(end), accuracy) for end, accuracy in zip(ends, accuracies, strict=True)]


def time_to(goal: float, points: Sequence[tuple[float, float]]) -> str:
    """When the accuracy was first at the goal; a dash if never."""
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
    """The table of what the project promises, and whether this run kept it. Ratios are formed
    within each repeat, where both sides met the same machine."""
    epoch, training = Run.epoch, Run.training
    seconds, megabytes = attrgetter("seconds"), attrgetter("megabytes")
    rows = []
    for label, values, unit, wanted, bound in (
        ("An epoch: notebook / train", ratios(runs, epoch, NOTEBOOK, TRAIN), "x", "least", 2.5),
        ("The same, settings off", ratios(runs, epoch, NOTEBOOK, UNPINNED), "x", "least", 3),
        ("Progress kept / not", ratios(runs, epoch, TRAIN, WITHOUT_PROGRESS), "x", "most", 1.03),
        ("Epochs: notebook / sprint", ratios(runs, training, NOTEBOOK, SPRINT), "x", "least", 8),
        ("Epochs: tuned / notebook", ratios(runs, training, TUNED, NOTEBOOK), "x", "most", 1),
        ("Whole: dvc repro / notebook", ratios(runs, seconds, REPRO, NOTEBOOK), "x", "most", 0.45),
        ("Peak memory: train", list(map(megabytes, runs[TRAIN])), "MB", "most", 700),
        ("Nothing to do: dvc repro", list(map(seconds, runs[NOTHING])), "s", "most", 1.5),
        ("Two revisions: tools.compare", list(map(seconds, runs[COMPARE])), "s", "most", 2),
    ):  # fmt: skip
        middle = median(values)
        met = middle >= bound if wanted == "least" else middle <= bound
        goal = f"at {wanted} {bound} {unit}"
        rows.append([label, *spread(values, unit), goal, "yes" if met else "no"])
    return table(["Goal", "Median", "Least - greatest", "Wanted", "Met"], rows)


def ratios(runs: Runs, quantity: Callable[[Run], float], upper: str, lower: str) -> list[float]:
    """The quotient of two contestants' quantity in each repeat."""
    pairs = zip(runs[upper], runs[lower], strict=True)
    return [quantity(a) / quantity(b) for a, b in pairs]


def spread(values: Sequence[float], unit: str) -> list[str]:
    """Two cells: the median with its unit, the least and the greatest."""
    digits = 0 if unit == "MB" else 2
    middle, least, greatest = (
        f"{value:.{digits}f}" for value in (median(values), min(values), max(values))
    )
    return [f"{middle} {unit}", f"{least} - {greatest}"]


def machine(runs: Runs) -> str:
    """What the numbers were measured on, and whether it was idle otherwise."""
    others = max(run.others for contestant in runs.values() for run in contestant)
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        cpuinfo = ""
    model = re.search(r"^model name\s*: (.*)$", cpuinfo, re.MULTILINE)
    code = "import torch; print(torch.__version__, torch.backends.cpu.get_cpu_capability())"
    version, instructions = measure([sys.executable, "-c", code], ROOT).output.split()
    return (
        f"CPU: {model[1] if model else platform.processor()}, {os.cpu_count()} cores\n"
        f"PyTorch {version}, its own choice of instructions: {instructions}\n"
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}\n"
        f"Other programs took at most {others:.0f} % of the CPUs (above 10 %: measure again)"
    )


if __name__ == "__main__":
    errors.run(main)
