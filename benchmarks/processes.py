"""Run a process and measure what it takes; train the network in one.

This file does not import torch: a child's peak memory counts that of the process that started it.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryFile
from typing import NamedTuple

import psutil

from benchmarks import recipes
from stages.common.errors import UserError
from tools import dvc_files
from tools.git import WORKSPACE

ROOT = recipes.ROOT
IMAGES = 60_000  # an epoch


class Run(NamedTuple):
    """What one process printed and took."""

    output: str
    start: float  # seconds, on the clock that dates files
    seconds: float  # from start to end
    megabytes: float  # peak memory, 10^6 bytes
    others: float  # percentage of the machine's CPU time that other programs took meanwhile
    ends: Sequence[float] = ()  # seconds from the start to the end of each epoch

    def epochs(self) -> list[float]:
        """The seconds of each epoch but the first, which includes the start of the process."""
        return [end - start for start, end in pairwise(self.ends)]

    def epoch(self) -> float:
        """The median seconds of an epoch."""
        return median(self.epochs())

    def training(self) -> float:
        """The seconds of all epochs, without the start of the process and loading the images."""
        return len(self.ends) * self.epoch()


def data_folder() -> Path:
    """The folder with the real images.

    Raises:
        UserError: it is not there.
    """
    folder = ROOT / dvc_files.locate(dvc_files.DATA)
    if not folder.exists():
        raise UserError(f"{folder}: not found; get it with `dvc repro download`")
    return folder


def python(module: str, *arguments: str | Path) -> Run:
    """Run a module of the project with this Python, and measure it.

    Raises:
        UserError: it fails; the message is what it printed.
    """
    return measure([sys.executable, "-m", module, *arguments], ROOT)


def measure(command: Sequence[str | Path], folder: Path, **variables: str) -> Run:
    """Run `command` in `folder`, with `variables` in its environment, and measure it.

    Raises:
        UserError: it fails; the message is what it printed. Or this is Windows.
    """
    if sys.platform == "win32":
        raise UserError("Windows does not tell how much memory a process took: use Linux or macOS")
    environment = os.environ | variables
    environment.pop("PIPELINE_WORKERS", None)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment["DVC_SITE_CACHE_DIR"] = str(folder / ".dvc/tmp/site")  # removed with the folder
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
        raise UserError(f"{' '.join(map(str, command))} failed:\n{text}")
    others = percentage(busy - usage.ru_utime - usage.ru_stime, seconds)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes
    return Run(text, date, seconds, usage.ru_maxrss * unit / 1e6, others)


def train(
    out: Path, overrides: recipes.Overrides, module: str = "stages.train", workers: int = 2
) -> Run:
    """Run the stage train, with other values for some parameters; all that it writes is in `out`.

    Raises:
        UserError: it fails; the message is what it printed.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    recipes.apply(overrides, ROOT / "params.yaml", out / "params.yaml")
    options = [f"--params={out / 'params.yaml'}", f"--workers={workers}"]
    return with_epochs(python(module, *arguments("train", out), *options), out)


def arguments(stage: str, out: Path) -> list[Path]:
    """What the command of train or of evaluate names: the images, and then files. In `out` these
    have the same names as in dvc.yaml."""
    _m, _module, _images, *paths = dvc_files.read_pipeline(WORKSPACE).command(stage)
    return [data_folder(), *(out / Path(path).name for path in paths)]


def clone(target: Path) -> None:
    """Make `target` a new clone of the last commit, in which the stage download has run.

    Its cache is empty otherwise, so DVC has to run the other stages.
    """
    data = data_folder()
    shutil.rmtree(target, ignore_errors=True)
    measure(["git", "clone", "--quiet", ROOT, target], ROOT)
    measure(["dvc", "repro", "download"], target, MNIST_DIR=str(data))


def with_epochs(run: Run, out: Path) -> Run:
    """The run with the end of each epoch, which is the date of its checkpoint in `out`."""
    ends = sorted(path.stat().st_mtime for path in (out / "checkpoints").iterdir())
    return run._replace(ends=[end - run.start for end in ends])


def busy_seconds() -> float:
    """CPU time that all programs together have used since the machine started. A system counts
    some of these kinds, Linux all."""
    times = psutil.cpu_times()
    kinds = ("user", "nice", "system", "irq", "softirq", "steal")
    return sum(getattr(times, kind, 0.0) for kind in kinds)


def percentage(cpu_seconds: float, seconds: float) -> float:
    """CPU time as a percentage of all that the machine had in `seconds`."""
    return 100 * max(0.0, cpu_seconds) / (seconds * (os.cpu_count() or 1))
