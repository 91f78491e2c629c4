"""Run a command, and measure what it takes.

Nothing here imports torch: a child's peak memory counts that of the process that started it.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryFile

import psutil

from stages.common.errors import UserError
from tools import machine

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Run:
    """What one process printed and took."""

    output: str
    start: float  # seconds, on the clock that dates files
    seconds: float  # from start to end
    megabytes: float  # peak memory, 10^6 bytes
    others: float  # percentage of the machine's CPU time that other programs took meanwhile
    ends: Sequence[float] = ()  # seconds from the start to the end of each epoch
    accuracies: Sequence[float] = ()  # on the test images, after each epoch

    def epochs(self) -> list[float]:
        """The seconds of each epoch but the first, which includes the start of the process."""
        return [end - start for start, end in pairwise(self.ends)]

    def epoch(self) -> float:
        """The median seconds of an epoch."""
        return median(self.epochs())

    def all_epochs(self) -> float:
        """The seconds of all epochs, without the start of the process and loading the images."""
        return len(self.ends) * self.epoch()


def clone(target: Path) -> None:
    """Make `target` a new clone of the last commit. Its cache is empty, so DVC has to run all."""
    measure(["git", "clone", "--quiet", ROOT, target], ROOT)


def measure(command: Sequence[str | Path], folder: Path, **variables: str) -> Run:
    """Run `command` in `folder`, with `variables` in its environment, and measure it.

    Raises:
        UserError: it fails; the message is what it printed. Or this is Windows.
    """
    if sys.platform == "win32":
        raise UserError("Windows does not tell how much memory a process took: use Linux or macOS")
    environment = {
        **os.environ,
        "PATH": first_on_path(Path(sys.executable).parent),
        "DVC_SITE_CACHE_DIR": str(folder / ".dvc/tmp/site"),  # removed with the folder
        **variables,
    }
    environment.pop("PIPELINE_WORKERS", None)
    with TemporaryFile("w+", encoding="utf-8") as output:
        busy, date, start = busy_seconds(), time.time(), time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        others = busy_seconds() - busy - usage.ru_utime - usage.ru_stime
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise UserError(f"{' '.join(map(str, command))} failed:\n{text}")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes
    percentage = 100 * max(0.0, others) / (seconds * (os.cpu_count() or 1))
    return Run(text, date, seconds, usage.ru_maxrss * unit / 1e6, percentage)


def first_on_path(folder: Path) -> str:
    """The variable PATH, in which the commands of this folder are found first."""
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def busy_seconds() -> float:
    """CPU time that all programs together have used since the machine started. A system counts
    some of these kinds, Linux all."""
    times = psutil.cpu_times()
    kinds = ("user", "nice", "system", "irq", "softirq", "steal")
    return sum(getattr(times, kind, 0.0) for kind in kinds)


def conditions(runs: Iterable[Run]) -> str:
    """On what machine which commit was measured, and whether other programs were running."""
    others = max(run.others for run in runs)
    describe = ["git", "describe", "--always", "--dirty= without your uncommitted changes"]
    return (
        f"{machine.cpu()}\n"
        f"PyTorch {metadata.version('torch')}, {machine.system()}\n"
        f"Commit {measure(describe, ROOT).output}"
        f"Other programs took at most {others:.0f} % of the CPUs (above 10 %: measure again)"
    )
