"""`make sprint` and `make tuned` in a clone, on the real data."""

import json
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import psutil
import pytest

from tests.support import posix
from tests.support.outputs import DATA
from tests.support.project import ENVIRONMENT, copy_tracked_files, make_command
from tools.processes import kill

pytestmark = [pytest.mark.real, pytest.mark.slow, posix.only]


def make(clone: Path, target: str) -> subprocess.Popen[str]:
    """Start a target, with the environment of this test."""
    return subprocess.Popen(
        make_command(target),
        cwd=clone,
        env=ENVIRONMENT | {"MNIST_DIR": str(DATA)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(clone: Path, target: str) -> tuple[float, str]:
    """Run a target to its end: the test accuracy and dvc.lock of the experiment it is named for."""
    process = make(clone, target)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert "Training on 60,000 images" in output  # DVC did not restore an earlier result
    shutil.rmtree(clone / ".dvc/cache/runs")
    (name,) = git(clone, "for-each-ref", "--format=%(refname)", f"refs/exps/*/*/{target}").split()
    metrics = json.loads(git(clone, "show", f"{name}:metrics/metrics.json"))
    return metrics["test"]["accuracy"], git(clone, "show", f"{name}:dvc.lock")


def git(clone: Path, *arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(
        command, cwd=clone, env=ENVIRONMENT, capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture(scope="module")
def clone(predictions: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with its data, committed as it is."""
    assert len(predictions)
    folder = tmp_path_factory.mktemp("recipes") / "project"
    copy_tracked_files(folder)
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=as it is")
    return folder


def test_sprint_reaches_99_percent_with_the_same_bytes_again_and_after_a_kill(clone: Path) -> None:
    accuracy, lock = finish(clone, "sprint")
    assert accuracy >= 0.99
    assert finish(clone, "sprint") == (accuracy, lock)

    killed = make(clone, "sprint")
    assert killed.stdout
    assert any("[Epoch: 2" in line for line in killed.stdout)  # reads until then
    kill(psutil.Process(killed.pid))
    killed.wait()
    assert finish(clone, "sprint") == (accuracy, lock)
    assert git(clone, "status", "--short") == ""


def test_tuned_reaches_99_4_percent(clone: Path) -> None:
    accuracy, _ = finish(clone, "tuned")
    assert accuracy >= 0.994
