"""`make sprint` and `make tuned` in a clone, on the real data."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import posix
from tests.support.outputs import DATA
from tests.support.project import ENVIRONMENT, copy_tracked_files, make_command
from tools.processes import kill

pytestmark = [pytest.mark.committed, pytest.mark.real, pytest.mark.slow, posix.only]


def start(clone: Path, recipe: str) -> subprocess.Popen[str]:
    """Start `make sprint` or `make tuned`, with the environment of this test."""
    return subprocess.Popen(
        make_command(recipe),
        cwd=clone,
        env=ENVIRONMENT | {"MNIST_DIR": str(DATA)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(clone: Path, recipe: str) -> tuple[float, str]:
    """Run a recipe to its end, and remove the experiment: its test accuracy and its dvc.lock."""
    process = start(clone, recipe)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert "Training on 60,000 images" in output  # DVC did not restore an earlier result
    shutil.rmtree(clone / ".dvc/cache/runs")
    (name,) = git(clone, "for-each-ref", "--format=%(refname)", f"refs/exps/*/*/{recipe}").split()
    metrics = json.loads(git(clone, "show", f"{name}:metrics/metrics.json"))
    lock = git(clone, "show", f"{name}:dvc.lock")
    git(clone, "update-ref", "-d", name)
    return metrics["test"]["accuracy"], lock


def git(clone: Path, *arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.check_output(command, cwd=clone, env=ENVIRONMENT, text=True)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, committed as it is."""
    if not DATA.exists():
        pytest.skip("no data here; get it with `dvc repro download`")
    folder = tmp_path_factory.mktemp("recipes") / "project"
    copy_tracked_files(folder)
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=as it is")
    return folder


def test_sprint_reaches_99_percent_and_a_killed_one_goes_on_to_the_same_bytes(clone: Path) -> None:
    accuracy, lock = finish(clone, "sprint")
    assert accuracy >= 0.99

    killed = start(clone, "sprint")
    assert killed.stdout
    assert any("[Epoch: 2" in line for line in killed.stdout)  # reads until then
    kill(killed.pid)
    killed.wait()
    assert finish(clone, "sprint") == (accuracy, lock)
    assert git(clone, "status", "--short") == ""


@pytest.mark.long
def test_tuned_reaches_99_4_percent(clone: Path) -> None:
    accuracy, _ = finish(clone, "tuned")
    assert accuracy >= 0.994
