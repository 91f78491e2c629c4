"""Measure time and memory of the pipeline, beside the notebook's way of training.

    python -m benchmarks.speed [--quick]

Each number comes from a process of its own. The contestants take turns, `--repeats` times, so
that a slow minute of the machine hits all of them; the tables show the median, least and greatest.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, TemporaryFile
from typing import NamedTuple

from ruamel.yaml import YAML
from tqdm import tqdm

from stages.common import errors
from tools.markdown import table

# No import of torch here: a child counts the memory of the process that started it as its own.

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data/MNIST/raw"
NOTEBOOK, TRAIN, ONE_WORKER, UNPINNED, FORGETFUL, REPRO, NOTHING, COMPARE = (
    "notebook", "train", "train, one worker", "train, settings off", "train, no progress kept",
    "dvc repro", "nothing to do", "compare",
)  # fmt: skip


class Run(NamedTuple):
    """What one process took."""

    output: str
    seconds: float  # from start to end
    megabytes: float  # at its peak, 10^6 bytes
    others: float  # percentage of the machine's CPU time that other programs took meanwhile
    epochs: Sequence[float] = ()  # seconds of each epoch, without the first


Runs = dict[str, list[Run]]  # contestant: a run a repeat


def main() -> None:
    """Let the contestants take turns; print the measurements, the goals and the machine."""
    parser = ArgumentParser(description="Measure time and memory.")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each contestant")
    parser.add_argument("--epochs", type=int, default=5, help="2 or more: the first is not counted")
    parser.add_argument("--quick", action="store_true", help="one repeat, two epochs")
    args = parser.parse_args()
    repeats, epochs = (1, 2) if args.quick else (args.repeats, args.epochs)
    if repeats < 1 or epochs < 2:
        parser.error("at least 1 repeat and 2 epochs")
    if not DATA.exists():
        raise errors.UserError(f"{DATA}: not found; get it with `dvc repro download`")

    changed = ["git", "status", "--porcelain", "--", "dvc.yaml", "params.yaml", "stages"]
    if measure(changed, ROOT).output:
        print("Note: dvc repro is measured as committed, all else as changed", file=sys.stderr)

    runs: Runs = {}
    with TemporaryDirectory() as folder:
        turns = contestants(Path(folder), epochs)
        with tqdm(total=repeats * len(turns), leave=False) as bar:
            for repeat in range(1, repeats + 1):
                for name, run in turns.items():
                    bar.set_description(f"Repeat {repeat}: {name}")
                    runs.setdefault(name, []).append(run())
                    bar.update()

    print(measurements(runs, epochs), goals(runs), machine(runs), sep="\n\n")


def contestants(scratch: Path, epochs: int) -> dict[str, Callable[[], Run]]:
    """All that is measured, in the order of the turns. NOTHING and COMPARE come after REPRO, in its
    clone."""
    params, clone = scratch / "params.yaml", scratch / "clone"
    shutil.copy(ROOT / "params.yaml", params)
    set_epochs(params, epochs)
    return {
        NOTEBOOK: partial(notebook, scratch / "pictures", epochs),
        TRAIN: partial(train, "stages.train", 2, params, scratch / "train"),
        UNPINNED: partial(train, "benchmarks.unpinned", 2, params, scratch / "train"),
        FORGETFUL: partial(train, "benchmarks.forgetful", 2, params, scratch / "train"),
        ONE_WORKER: partial(train, "stages.train", 1, params, scratch / "train"),
        REPRO: partial(repro, clone, epochs),
        NOTHING: partial(measure, ["dvc", "repro"], clone),
        COMPARE: partial(measure, [sys.executable, "-m", "tools.compare", "HEAD"], clone),
    }


def notebook(pictures: Path, epochs: int) -> Run:
    """The whole notebook; it prints how long its epochs took."""
    options = [f"--epochs={epochs}"]
    module = "benchmarks.notebook"
    run = measure([sys.executable, "-m", module, ROOT / "data", pictures, *options], ROOT)
    seconds = re.findall(r"^Epoch \d+: ([0-9.]+) s$", run.output, re.MULTILINE)
    return run._replace(epochs=[float(text) for text in seconds[1:]])


def train(module: str, workers: int, params: Path, out: Path) -> Run:
    """The train stage. An epoch lasts from one checkpoint to the next: so start-up and loading
    are not in it, writing the files is, and the stage need not know that it is measured."""
    shutil.rmtree(out, ignore_errors=True)
    outputs = [
        out / name for name in ("model.safetensors", "checkpoints", "history.csv", "progress")
    ]
    options = [f"--params={params}", f"--workers={workers}"]
    run = measure([sys.executable, "-m", module, DATA, *outputs, *options], ROOT)
    ends = sorted(path.stat().st_mtime for path in (out / "checkpoints").iterdir())
    return run._replace(epochs=[end - start for start, end in pairwise(ends)])


def repro(clone: Path, epochs: int) -> Run:
    """`dvc repro` of the last commit when only the download is done: train, evaluate, plot. The
    clone is new, so that DVC's cache cannot give the outputs without running the stages."""
    shutil.rmtree(clone, ignore_errors=True)
    measure(["git", "clone", "--quiet", ROOT, clone], ROOT)
    set_epochs(clone / "params.yaml", epochs)
    measure(["dvc", "repro", "download"], clone, MNIST_DIR=str(DATA))
    shutil.rmtree(clone / "metrics")  # these are committed
    run = measure(["dvc", "repro"], clone)
    if run.output.count("Running stage") != 3:
        raise errors.UserError(f"`dvc repro` did not run three stages:\n{run.output}")
    return run


def set_epochs(params: Path, epochs: int) -> None:
    """Change `train.epochs` in a parameter file and nothing else."""
    yaml = YAML()
    content = yaml.load(params)
    content["train"]["epochs"] = epochs
    yaml.dump(content, params)


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
        before, start = busy_seconds(), time.perf_counter()
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
    return Run(text, seconds, usage.ru_maxrss * unit / 1e6, others * 100)


def busy_seconds() -> float:
    """CPU time that all programs together have used since the machine started (Linux, else 0)."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").split()[1:9]
    except OSError:
        return 0.0
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def measurements(runs: Runs, epochs: int) -> str:
    """The table of what was measured. "Others" is the share of the CPUs that other programs took,
    at most: above a few percent the row is not to be trusted, the notebook's least of all, since
    PyTorch's own threads wait for each other at every operation."""
    rows = []

    def add(label: str, name: str, unit: str, values: Iterable[float]) -> None:
        others = max(run.others for run in runs[name])
        rows.append([label, *spread(list(values), unit), f"{others:.0f} %"])

    for label, name in {
        "An epoch: the notebook": NOTEBOOK,
        "An epoch: train, two workers": TRAIN,
        "An epoch: train, two workers, settings off": UNPINNED,
        "An epoch: train, two workers, no progress kept": FORGETFUL,
        "An epoch: train, one worker": ONE_WORKER,
    }.items():
        add(label, name, "s", (seconds for run in runs[name] for seconds in run.epochs))
    for label, name in {
        f"{epochs} epochs, whole process: the notebook": NOTEBOOK,
        f"{epochs} epochs, whole process: dvc repro": REPRO,
        "Nothing to do: dvc repro": NOTHING,
        "Two revisions: tools.compare": COMPARE,
    }.items():
        add(label, name, "s", (run.seconds for run in runs[name]))
    for label, name in {
        "Peak memory: the notebook": NOTEBOOK,
        "Peak memory: train, two workers": TRAIN,
    }.items():
        add(label, name, "MB", (run.megabytes for run in runs[name]))
    return table(["Measurement", "Median", "Least - greatest", "Count", "Others"], rows)


def goals(runs: Runs) -> str:
    """The table of what the project promises, and whether this run kept it. Ratios are formed
    within each repeat, where both sides met the same machine."""
    epoch = {name: [median(run.epochs or [0]) for run in runs[name]] for name in runs}
    wall = {name: [run.seconds for run in runs[name]] for name in runs}
    memory = [run.megabytes for run in runs[TRAIN]]
    rows = []
    for label, values, unit, wanted, bound in (
        ("An epoch: notebook / train", ratios(epoch[NOTEBOOK], epoch[TRAIN]), "x", "least", 2.5),
        ("The same, settings off", ratios(epoch[NOTEBOOK], epoch[UNPINNED]), "x", "least", 3),
        ("Progress kept / not", ratios(epoch[TRAIN], epoch[FORGETFUL]), "x", "most", 1.03),
        ("Whole: dvc repro / notebook", ratios(wall[REPRO], wall[NOTEBOOK]), "x", "most", 0.45),
        ("Peak memory: train", memory, "MB", "most", 700),
        ("Nothing to do: dvc repro", wall[NOTHING], "s", "most", 1.5),
        ("Two revisions: tools.compare", wall[COMPARE], "s", "most", 2),
    ):
        middle = median(values)
        met = middle >= bound if wanted == "least" else middle <= bound
        goal = f"at {wanted} {bound} {unit}"
        rows.append([label, *spread(values, unit)[:2], goal, "yes" if met else "no"])
    return table(["Goal", "Median", "Least - greatest", "Wanted", "Met"], rows)


def ratios(upper: Sequence[float], lower: Sequence[float]) -> list[float]:
    """The quotient of the two in each repeat."""
    return [a / b for a, b in zip(upper, lower, strict=True)]


def spread(values: Sequence[float], unit: str) -> list[str]:
    """Three cells: the median with its unit, the least and the greatest, how many."""
    digits = 0 if unit == "MB" else 2
    middle, least, greatest = (
        f"{value:.{digits}f}" for value in (median(values), min(values), max(values))
    )
    return [f"{middle} {unit}", f"{least} - {greatest}", str(len(values))]


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
