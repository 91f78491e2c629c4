"""Someone edits while a training runs. What DVC then records must be what ran."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
import pytest

from tests.support import runner
from tests.support.project import DVC, Project, wait_for
from tests.support.runner import DATA, change_code
from tools.yaml_files import parse_yaml


@pytest.fixture
def start(slow: Project) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command, and wait until its training is in the second epoch."""
    processes = []

    def start(*command: str | Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command,
            cwd=slow.folder,
            env=slow.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
        wait_for(process, "[Epoch: 2")
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


def edit_params(project: Project) -> None:
    project.set_param("train", "lr", 0.07)


def edit_data(project: Project) -> None:
    with (project.folder / DATA / "train-images-idx3-ubyte").open("r+b") as file:
        file.seek(1000)
        file.write(b"\1\2\3")


def check_out_a_branch(project: Project) -> None:
    project("git", "checkout", "--quiet", "other")


@pytest.fixture
def other_branch(slow: Project) -> Project:
    """The project with a branch `other`, where the network is another."""
    slow("git", "checkout", "--quiet", "-b", "other")
    slow.set_param("model", "hidden_units", 9)
    slow("git", "commit", "--quiet", "--all", "--message=other")
    slow("git", "checkout", "--quiet", "main")
    return slow


def run_cache(project: Project) -> set[str]:
    """Where DVC looks for what a run would give."""
    return {*runner.digests(project.folder / ".dvc/cache/runs")}


EDITS: dict[str, tuple[Callable[[Project], None], str]] = {
    "params": (edit_params, "params.yaml: train.lr"),
    "a module": (lambda project: change_code(project.folder), "stages/train.py"),
    "MNIST": (edit_data, f"{DATA}/train-images-idx3-ubyte"),
    "another branch": (check_out_a_branch, "params.yaml: model.hidden_units"),
}


@pytest.mark.parametrize(
    "kind",
    ["params", *(pytest.param(kind, marks=pytest.mark.slow) for kind in list(EDITS)[1:])],
)
def test_dvc_records_nothing_and_to_undo_the_edit_costs_no_epoch(
    other_branch: Project, start: Callable[..., subprocess.Popen[str]], kind: str
) -> None:
    project = other_branch
    edit, name = EDITS[kind]
    lock, runs = (project.folder / "dvc.lock").read_bytes(), run_cache(project)
    process = start(DVC, "repro", "--force", "--single-item", "train")
    edit(project)
    output, _ = process.communicate()
    assert process.returncode != 0
    assert f"{name}: changed after this stage had read it" in output
    assert (project.folder / "dvc.lock").read_bytes() == lock
    assert run_cache(project) == runs  # so no later run finds it there

    project("git", "checkout", "--quiet", "main")
    project("git", "restore", "params.yaml", "stages")
    project("dvc", "checkout", "--force", DATA)
    output = project("dvc", "repro", "train")
    assert "Resuming after epoch 6" in output
    assert "[Epoch: 6 Batch:   125]" not in output
    assert project("git", "status", "--short") == ""


@pytest.mark.slow
def test_an_experiment_records_nothing_either(
    slow: Project, start: Callable[..., subprocess.Popen[str]]
) -> None:
    runs = run_cache(slow)
    process = start(DVC, "exp", "run", "-S", "train.momentum=0.8", "train")
    edit_params(slow)
    output, _ = process.communicate()
    assert process.returncode != 0
    assert "params.yaml: train.lr: changed after this stage had read it" in output
    assert slow("dvc", "exp", "list", "--all-commits") == ""
    assert run_cache(slow) == runs


@pytest.mark.slow
def test_an_experiment_in_a_copy_is_not_disturbed(
    slow: Project, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """As docs/experiments.md says."""
    options = ("--temp", "--name=safe", "-S", "train.momentum=0.8")
    process = start(DVC, "exp", "run", *options, "train")
    edit_params(slow)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    lock = parse_yaml(slow("git", "show", f"{slow.experiment('safe')}:dvc.lock").encode())
    params = lock["stages"]["train"]["params"]["params.yaml"]["train"]
    assert (params["lr"], params["momentum"]) == (0.05, 0.8)


@pytest.mark.slow
def test_runs_with_several_seeds_are_not_disturbed(other_branch: Project) -> None:
    """They train in copies of the two commits."""
    project = other_branch
    for branch in ("other", "main"):
        project("git", "checkout", "--quiet", branch)
        project.set_param("train", "lr", 0.01)
        project("git", "commit", "--quiet", "--all", "--message=slower")
    command = [sys.executable, "-m", "tools.seeds", "main", "other", "--n", "3"]
    process = subprocess.Popen(
        command, cwd=project.folder, env=project.environment(), stdout=subprocess.DEVNULL
    )
    log = project.folder / ".dvc/tmp/seeds/BASE.log"
    while not log.exists() or "[Epoch: 2" not in log.read_text():
        assert process.poll() is None
        time.sleep(0.05)
    edit_params(project)
    change_code(project.folder)
    assert process.wait() == 0
    evidence = json.loads((project.folder / "evidence/seeds.json").read_bytes())
    for side in ("base", "head"):
        assert evidence[side]["recipe"]["params"]["train.lr"] == 0.01


def test_what_git_tracks_in_progress_is_refused(project: Project) -> None:
    """Someone's commit may hold the state of another training."""
    (project.folder / ".progress/epoch-01.safetensors").touch()
    project("git", "add", "--force", ".progress/epoch-01.safetensors")
    process = project.run("dvc", "repro", "--force", "--single-item", "train")
    assert process.returncode != 0
    assert ".progress: git tracks .progress/epoch-01.safetensors" in process.stdout


def test_other_packages_than_the_pinned_ones_are_refused(project: Project) -> None:
    """What DVC records must be what ran."""
    path = project.folder / "requirements-stages.txt"
    path.write_text(path.read_text().replace("numpy==", "numpy==1."))
    process = project.run("dvc", "repro")
    assert process.returncode != 0
    assert "Running stage 'train'" in process.stdout  # after a change of the file
    assert f"than {path.name} says: numpy==1.{numpy.__version__} (here: " in process.stdout
    project("git", "checkout", "--quiet", path.name)
    assert project.repro() == []
