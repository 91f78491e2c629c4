"""Measure what the first run in a new clone takes, part by part.

    python -m benchmarks.fresh

It makes a new clone of the last commit and a new environment, so it downloads what pip does not
have in its cache, and MNIST. The parts: `make install`, then each stage, started by DVC alone. So
DVC's own start is in each of them: half a second, which one `dvc repro` of all takes once.
"""

from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import Run, clone, conditions, first_on_path, measure
from stages.common import errors
from tools.dvc_files import read_pipeline
from tools.git import WORKSPACE
from tools.markdown import table

INSTALL = "make install"


def main() -> None:
    """Print the table of the parts, and the machine."""
    ArgumentParser(description="Measure the first run in a new clone.").parse_args()
    with TemporaryDirectory() as folder:
        runs = first_run(Path(folder) / "clone")
    print(parts({name: run.seconds for name, run in runs.items()}))
    print("", conditions(runs.values()), sep="\n")


def first_run(folder: Path) -> dict[str, Run]:
    """Make a new clone; install, and run one stage after the other with DVC."""
    clone(folder)
    runs = {INSTALL: measure(["make", "install", "VENV=.venv"], folder)}
    path = first_on_path(folder / ".venv/bin")
    for stage in read_pipeline(WORKSPACE).stages:
        command = ["dvc", "repro", "--force", "--single-item", stage]
        runs[stage] = measure(command, folder, PATH=path)
    return runs


def parts(seconds: Mapping[str, float]) -> str:
    """The table: each part, and their sum."""
    whole = sum(seconds.values())
    rows = [
        [name, f"{time:.1f} s", f"{100 * time / whole:.0f} %"]
        for name, time in [*seconds.items(), ("all", whole)]
    ]
    return table(["Part", "Time", "Of all"], rows)


if __name__ == "__main__":
    errors.run(main)
