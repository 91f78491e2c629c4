"""Measure what the first run in a new clone takes, part by part.

    python -m benchmarks.fresh

It makes a new clone of the last commit and a new environment, so it downloads what pip does not
have in its cache, and MNIST. The parts: `make install`; each stage by itself, as dvc.yaml writes
its command; and what DVC adds, which is `dvc repro --force` less these stages.
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

INSTALL, REPRO = "make install", "dvc repro --force"


def main() -> None:
    """Print the table of the parts, and the machine."""
    ArgumentParser(description="Measure the first run in a new clone.").parse_args()
    with TemporaryDirectory() as folder:
        runs = first_run(Path(folder) / "clone")
    print(parts({name: run.seconds for name, run in runs.items()}))
    print("", conditions(runs.values()), sep="\n")


def first_run(folder: Path) -> dict[str, Run]:
    """Make a new clone; install, run each stage, and then all of them with DVC."""
    clone(folder)
    runs = {INSTALL: measure(["make", "install", "VENV=.venv"], folder)}
    path = first_on_path(folder / ".venv/bin")
    pipeline = read_pipeline(WORKSPACE)
    for stage in pipeline.stages:
        runs[stage] = measure(["python", *pipeline.command(stage)], folder, PATH=path)
    return runs | {REPRO: measure(["dvc", "repro", "--force"], folder, PATH=path)}


def parts(seconds: Mapping[str, float]) -> str:
    """The table: each part, DVC's own, and their sum."""
    stages = {name: time for name, time in seconds.items() if name not in {INSTALL, REPRO}}
    install, repro = seconds[INSTALL], seconds[REPRO]
    shown = {INSTALL: install, **stages, "DVC itself": repro - sum(stages.values())}
    whole = install + repro
    rows = [
        [name, f"{time:.1f} s", f"{100 * time / whole:.0f} %"]
        for name, time in [*shown.items(), ("all", whole)]
    ]
    return table(["Part", "Time", "Of all"], rows)


if __name__ == "__main__":
    errors.run(main)
