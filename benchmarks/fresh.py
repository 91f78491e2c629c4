"""Measure what the first run in a new clone takes, part by part.

    python -m benchmarks.fresh [--repeats N]

Each repeat makes a new clone and a new environment, so it downloads what pip does not have in its
cache, and MNIST. The parts: `make install`; each stage by itself, as dvc.yaml writes its command;
and what DVC adds, which is `dvc repro --force` less these stages.
"""

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.processes import ROOT, Run, measure
from benchmarks.summary import conditions, spread
from stages.common import errors
from tools import dvc_files
from tools.git import WORKSPACE
from tools.markdown import table

INSTALL, REPRO, DVC, ALL = "make install", "dvc repro --force", "DVC itself", "all"


def main() -> None:
    """Print the table of the parts, and the machine."""
    parser = ArgumentParser(description="Measure the first run in a new clone.")
    parser.add_argument("--repeats", type=int, default=1, help="new clones")
    args = parser.parse_args()
    if args.repeats < 1:
        parser.error("at least 1 repeat")
    runs: dict[str, list[Run]] = {}
    for _ in range(args.repeats):
        with TemporaryDirectory() as folder:
            for name, run in first_run(Path(folder) / "clone").items():
                runs.setdefault(name, []).append(run)
    print(parts({name: [run.seconds for run in each] for name, each in runs.items()}))
    print("", conditions([run for each in runs.values() for run in each]), sep="\n")


def first_run(clone: Path) -> dict[str, Run]:
    """Make a new clone; install, run each stage, and then all of them with DVC."""
    measure(["git", "clone", "--quiet", ROOT, clone], ROOT)
    runs = {INSTALL: measure(["make", "install"], clone)}
    dvc_yaml = dvc_files.read_pipeline(WORKSPACE)
    for stage in dvc_yaml.stages:
        runs[stage] = measure(["python", *dvc_yaml.command(stage)], clone)
    return runs | {REPRO: measure(["dvc", "repro", "--force"], clone)}


def parts(seconds: Mapping[str, Sequence[float]]) -> str:
    """The table: each part, DVC's own, and their sum; a number a repeat."""
    stages = [times for name, times in seconds.items() if name not in {INSTALL, REPRO}]
    in_stages = [sum(times) for times in zip(*stages, strict=True)]
    shown = {name: times for name, times in seconds.items() if name != REPRO}
    shown[DVC] = [a - b for a, b in zip(seconds[REPRO], in_stages, strict=True)]
    shown[ALL] = [a + b for a, b in zip(seconds[INSTALL], seconds[REPRO], strict=True)]
    whole = median(shown[ALL])
    rows = [
        [name, *spread(times, "s"), f"{100 * median(times) / whole:.0f} %"]
        for name, times in shown.items()
    ]
    return table(["Part", "Median", "Least - greatest", "Of all"], rows)


if __name__ == "__main__":
    errors.run(main)
