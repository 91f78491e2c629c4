"""`dvc exp`: one experiment, a sweep, good values and bad ones."""

import json
import shutil

import pytest

from tests.support.project import Project, stages_in
from tests.support.runner import change_code


def state(project: Project) -> list[str]:
    """What a person can see of the workspace, the files of DVC and the experiments included."""
    commands = ["git status --short", "git diff", "git for-each-ref", "dvc status --json"]
    return [project(*command.split()) for command in commands]


def run_queue(project: Project) -> dict[str, str]:
    """Let two workers empty DVC's queue; how each experiment ended, by its name."""
    project.run("dvc", "exp", "run", "--run-all", "--jobs=2")
    project.end_queue()
    table = project("dvc", "queue", "status").split("\n\n")[0].splitlines()[1:]
    return {row.split()[1]: row.split()[-1] for row in table}


@pytest.mark.slow
def test_an_experiment_is_compared_with_its_commit(project: Project) -> None:
    output = project("dvc", "exp", "run", "--name", "lower", "-S", "train.lr=1e-3")
    assert stages_in(output) == ["train", "evaluate", "plot"]
    assert "lower" in project("dvc", "exp", "show", "--csv", "--no-pager")
    params = json.loads(project("dvc", "params", "diff", "--json"))
    assert params["params.yaml"] == {"train.lr": {"old": 0.05, "new": 0.001, "diff": -0.049}}

    metrics = json.loads(project("dvc", "metrics", "diff", "--json"))["metrics/metrics.json"]
    assert metrics["test.accuracy"]["diff"] < 0
    assert metrics["test.loss"]["diff"] > 0
    assert {key for key in metrics if key.startswith("per_digit.")}

    project("dvc", "plots", "diff", "HEAD", "--out", "page")
    names = {path.name for path in (project.folder / "page/static").iterdir()}
    assert {"HEAD_metrics_plots_mistakes.png", "workspace_metrics_plots_mistakes.png"} <= names
    assert "confusion" in (project.folder / "page/index.html").read_text()


def test_a_failed_experiment_changes_nothing_with_temp_and_is_undone_without(
    project: Project,
) -> None:
    change_code(project.folder)  # an edit, not committed
    before = state(project)
    process = project.run("dvc", "exp", "run", "--temp", "-S", "train.lr=1e6")
    assert process.returncode != 0
    assert "lower train.lr (1000000.0)" in process.stdout  # noticed during the training
    assert state(project) == before

    process = project.run("dvc", "exp", "run", "-S", "train.lr=-1")
    assert process.returncode != 0
    assert "params.yaml: train.lr: must be greater than 0 (got -1)" in process.stdout
    assert "Traceback" not in process.stdout
    # As docs/experiments.md says: DVC has removed the stage's outputs.
    project("git", "checkout", "params.yaml", "dvc.lock", "metrics")
    project("dvc", "checkout", "--force")
    assert project("git", "status", "--short") == " M stages/train.py\n"
    assert project("dvc", "status", "--json") == before[-1]


@pytest.mark.slow
def test_a_sweep_runs_the_queued_code_goes_on_after_a_failure_and_gives_the_usual_bytes(
    project: Project,
) -> None:
    values = ("-S", "train.lr=-1,0.001", "-S", "train.seed=range(0,2)")
    project("dvc", "exp", "run", "--queue", "--name", "sweep", *values)
    # While the experiments wait, the code changes and the MNIST files disappear.
    (project.folder / "stages" / "train.py").write_text("raise SystemExit('the edited code')\n")
    shutil.rmtree(project.folder.parent / "tiny")

    ended = run_queue(project)
    good, bad = ("sweep-3", "sweep-4"), ("sweep-1", "sweep-2")
    assert ended == dict.fromkeys(good, "Success") | dict.fromkeys(bad, "Failed")
    for name in ended:
        log = project("dvc", "queue", "logs", name)
        assert "Stage 'download' didn't change, skipping" in log
        reason = "params.yaml: train.lr: must be greater than 0 (got -1)"
        assert (reason in log.splitlines()) == (name in bad)
        assert "Traceback" not in log
    assert project("git", "status", "--short") == " M stages/train.py\n"

    project("git", "checkout", "--", "stages")
    for name, where in (("aside", ["--temp"]), ("here", [])):
        shutil.rmtree(project.folder / ".dvc/cache/runs")  # or DVC would take the results from it
        values = ("-S", "train.lr=0.001", "-S", "train.seed=0")
        output = project("dvc", "exp", "run", *where, "--name", name, *values)
        assert "train" in stages_in(output)
        same = ("git", "diff", "--stat", project.experiment("sweep-3"), project.experiment(name))
        assert project(*same) == ""
