"""`python -m tools.verify`: a commit runs afresh, elsewhere, and is compared with its lock."""

import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support import posix
from tests.support.project import ENVIRONMENT, Project
from tests.support.runner import digests
from tools.expected import Expected, read_digests

VERIFY = ("python", "-m", "tools.verify")
ON_WINDOWS = ("python", "-m", "tests.support.windows", "tools.verify")
OUTPUTS = [
    "data/MNIST/raw/",
    "metrics/history.csv",
    "models/checkpoints/",
    "models/first_images.idx",
    "models/model.safetensors",
    "metrics/epochs.csv",
    "metrics/metrics.json",
    "metrics/predictions.csv",
    "metrics/plots/",
]


def replace(path: Path, old: str, new: str) -> None:
    """Change one place of a source file."""
    source = path.read_text(encoding="utf-8")
    assert source.count(old) == 1
    path.write_text(source.replace(old, new), encoding="utf-8")


def answers(output: str) -> dict[str, str]:
    """The table's first and last column."""
    lines = output[output.index("Artifact") :].split("\n\n", maxsplit=1)[0].splitlines()[1:]
    return {line.split()[0]: line.split()[-1] for line in lines}


def change_the_order_of_the_images(project: Project) -> None:
    """Commit another constant in train, with the lock as it was."""
    replace(
        project.folder / "stages/train.py", "generator(seed, epoch)", "generator(seed, epoch, 1)"
    )
    project("git", "commit", "--quiet", "--all", "--message=another order, the old lock")


def test_a_revision_is_verified_with_the_data_and_without_the_code_of_the_workspace(
    project: Project, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    change_the_order_of_the_images(project)
    replace(project.folder / "stages/plot.py", "def main() -> None:\n", "def main() -> int:\n")
    before = digests(project.folder)
    places = {"MNIST_DIR": "", "TMPDIR": str(scratch), "PYTHONDONTWRITEBYTECODE": "1"}
    process = project.run(*VERIFY, "main~1", **places)
    assert process.returncode == 0, process.stdout
    assert "Verifying main~1 (" in process.stdout
    assert "Note: the committed files are verified, not the workspace's changes" in process.stdout
    assert f"(last source: MNIST_DIR={project.folder}/data/MNIST/raw)" in process.stdout
    assert answers(process.stdout) == dict.fromkeys(OUTPUTS, "yes")
    assert "All 9 artifacts are the same" in process.stdout
    assert re.search(r"^CPU: .+, \d+ cores$", process.stdout, re.MULTILINE)
    build = r"^PyTorch 2\.13\.\S+, running AVX2 code; Python 3"
    assert re.search(build, process.stdout, re.MULTILINE)
    assert "Settings:\n  ATEN_CPU_CAPABILITY=avx2\n  ONEDNN" in process.stdout
    assert digests(project.folder) == before
    assert list(scratch.iterdir()) == []


def test_a_constant_that_the_lock_does_not_know_of_shows(project: Project) -> None:
    change_the_order_of_the_images(project)
    process = project.run(*VERIFY)
    assert process.returncode == 1
    found = answers(process.stdout)
    assert {path: found.pop(path) for path in OUTPUTS} == {
        **dict.fromkeys(OUTPUTS, "NO"),
        "data/MNIST/raw/": "yes",
    }
    assert found == {  # in the folders; the other pictures are the same
        "epoch-01.safetensors": "NO",
        "epoch-02.safetensors": "NO",
        "training_curves.png": "NO",
    }
    assert "8 of 9 artifacts differ" in process.stdout


@pytest.mark.slow
@posix.only_linux
def test_an_architecture_may_have_digests_of_its_own_with_other_parameters(
    project: Project,
) -> None:
    """Linux can say that it is a 32-bit one, and all else is as before."""
    another = ("setarch", "i686")
    project.set_param("train", "epochs", 1)
    project(*another, "dvc", "repro")
    claim = Expected(
        made="by a test", params={"train.epochs": 1}, outputs=read_digests(project.folder)
    )
    name = "dvc.i686.json"
    project("git", "checkout", "--quiet", ".")
    (project.folder / name).write_text(claim.model_dump_json(), encoding="utf-8")
    project("git", "add", name)
    project("git", "commit", "--quiet", "--message=digests of this architecture")
    process = project.run(*another, *VERIFY)
    assert process.returncode == 0, process.stdout
    expected = f"{name} has digests of this architecture. They are of a run with train.epochs=1 (by"
    assert expected in process.stdout
    assert "All 9 artifacts are the same" in process.stdout


@pytest.mark.slow
def test_an_earlier_run_of_the_same_code_does_not_answer_for_this_one(
    project: Project, tmp_path: Path
) -> None:
    """Not even from a cache that the user's own configuration shares among all projects."""
    replace(
        project.folder / "stages/evaluate.py",
        "    print(describe(",
        '    import os; args.metrics.write_text(os.environ["NOISE"])\n    print(describe(',
    )
    settings = tmp_path / "settings"
    settings.mkdir()
    (settings / "config").write_text(f"[cache]\n    dir = {project.folder}/.dvc/cache\n")
    process = project.run("dvc", "repro", "evaluate", NOISE="1")
    assert process.returncode == 0, process.stdout
    project("git", "commit", "--quiet", "--all", "--message=impure")
    cache = digests(project.folder / ".dvc/cache")
    process = project.run(*VERIFY, NOISE="2", DVC_GLOBAL_CONFIG_DIR=str(settings))
    assert process.returncode == 1
    expected = dict.fromkeys(OUTPUTS, "yes") | {"metrics/metrics.json": "NO"}
    assert answers(process.stdout) == expected
    assert digests(project.folder / ".dvc/cache") == cache


@pytest.mark.slow
def test_a_committed_result_does_not_stand_for_one_that_is_not_computed(project: Project) -> None:
    replace(
        project.folder / "stages/evaluate.py",
        "    files.write(args.metrics, files.canonical_json(metrics))\n",
        "",
    )
    metrics = "      - metrics/metrics.json:\n"
    replace(project.folder / "dvc.yaml", metrics, f"{metrics}          persist: true\n")
    project("dvc", "commit", "--force")
    project("git", "commit", "--quiet", "--all", "--message=nothing writes the metrics")
    project("dvc", "repro", "--force")  # is content with the committed file
    assert project("git", "status", "--short") == ""
    process = project.run(*VERIFY)
    assert process.returncode == 1
    assert "failed to reproduce 'evaluate'" in process.stdout
    assert "metrics/metrics.json" in process.stdout.split("failed to reproduce 'evaluate'")[1]


def test_a_pipeline_that_fails_shows_why(project: Project) -> None:
    project.set_param("train", "lr", -1)
    project("git", "commit", "--quiet", "--all", "--message=bad")
    process = project.run(*VERIFY)
    assert process.returncode == 1
    assert "params.yaml: train.lr: must be greater than 0 (got -1)" in process.stdout
    assert process.stdout.endswith("the pipeline failed, as shown above: nothing to compare\n")
    assert "Traceback" not in process.stdout


def test_an_unknown_revision_and_a_commit_without_a_lock_are_named(project: Project) -> None:
    process = project.run(*VERIFY, "v9")
    assert process.returncode == 1
    assert process.stdout.startswith("'v9' is neither a git revision nor an experiment; `git")
    process = project.run(*VERIFY, "workspace")
    assert process.returncode == 1
    assert process.stdout == "only a commit can be verified, not the workspace: commit it first\n"
    project("git", "rm", "--quiet", "--cached", "dvc.lock")
    project("git", "commit", "--quiet", "--message=no lock")
    process = project.run(*VERIFY)
    assert process.returncode == 1
    assert "has no dvc.lock, so there is nothing to verify" in process.stdout


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(VERIFY, id="here"),
        pytest.param(ON_WINDOWS, id="with what Windows has", marks=pytest.mark.slow),
    ],
)
def test_ctrl_c_leaves_no_process_and_no_file(
    project: Project, tmp_path: Path, command: Sequence[str]
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    replace(
        project.folder / "stages/train.py",
        "def main() -> None:\n",
        "def main() -> None:\n    import time\n    print('asleep', flush=True)\n"
        "    time.sleep(30)\n    print('awake', flush=True)\n",
    )
    project("git", "commit", "--quiet", "--all", "--message=waits")
    with subprocess.Popen(
        [sys.executable, *command[1:]],
        cwd=project.folder,
        env=ENVIRONMENT | {"MNIST_DIR": str(tmp_path / "tiny"), "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert "asleep\n" in process.stdout  # reads up to that line
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()  # ends with the last process that could write to it
        assert process.wait() == 130, rest
    assert "awake" not in rest
    assert "Traceback" not in rest
    assert list(scratch.iterdir()) == []
