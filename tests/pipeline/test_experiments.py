"""`dvc exp`: one experiment, a sweep, good values and bad ones."""

import json
import shutil

import pytest

from tests.support.project import Project

# As the documentation shows it.
DROP = "Created|Executor|test.loss|per_digit|metrics|models|stages"
SHOW = ("dvc", "exp", "show", "--only-changed", "--drop", DROP, "--no-pager")


def references(project: Project) -> dict[str, str]:
    """The git reference of each experiment, by the experiment's name."""
    listed = project("git", "for-each-ref", "--format=%(refname)", "refs/exps/*/*/*").split()
    return {reference.rsplit("/", 1)[1]: reference for reference in listed}


def state(project: Project) -> list[str]:
    """What a person can see of the workspace, the files of DVC and the experiments included."""
    commands = ["git status --short", "git diff", "git for-each-ref", "dvc status --json"]
    return [project(*command.split()) for command in commands]


def test_an_experiment_changes_the_metrics_that_git_compares(project: Project) -> None:
    output = project("dvc", "exp", "run", "--name", "slow", "-S", "train.lr=1e-3")
    assert "download' didn't change" in output.replace("Stage '", "")
    diff = json.loads(project("dvc", "metrics", "diff", "HEAD", "--json"))
    assert diff["metrics/metrics.json"]["test.accuracy"]["diff"] < 0
    params = json.loads(project("dvc", "params", "diff", "HEAD", "--json"))
    assert params["params.yaml"] == {"train.lr": {"old": 0.05, "new": 0.001, "diff": -0.049}}
    assert "slow" in project("dvc", "exp", "show", "--csv", "--no-pager")


def test_a_bad_value_is_one_line_and_git_and_dvc_restore_the_workspace(project: Project) -> None:
    process = project.run("dvc", "exp", "run", "-S", "train.lr=-1")
    assert process.returncode != 0
    assert "params.yaml: train.lr: must be greater than 0 (got -1)" in process.stdout
    assert "Traceback" not in process.stdout
    project("git", "checkout", "--", ".")  # DVC has removed the stage's outputs
    project("dvc", "checkout", "--force")
    assert project("git", "status", "--short") == ""
    assert "up to date" in project("dvc", "status")


def test_an_experiment_that_fails_with_temp_leaves_the_workspace_as_it_was(
    project: Project,
) -> None:
    project.set_param("plot", "dpi", 101)  # not committed
    before = state(project)
    process = project.run("dvc", "exp", "run", "--temp", "-S", "train.lr=1e30")
    assert process.returncode != 0
    assert "lower train.lr (1e+30)" in process.stdout  # noticed during the training
    assert state(project) == before


@pytest.mark.slow
def test_an_experiment_run_with_temp_is_applied_or_becomes_a_branch(project: Project) -> None:
    project("dvc", "exp", "run", "--temp", "--name", "slow", "-S", "train.lr=0.001")
    assert project("git", "status", "--short") == ""

    project("dvc", "exp", "apply", "slow")
    assert "lr: 0.001" in (project.folder / "params.yaml").read_text()
    assert "up to date" in project("dvc", "status")
    project("git", "checkout", "--", ".")
    project("dvc", "checkout", "--force")

    project("dvc", "exp", "branch", "slow", "slower")
    project("git", "checkout", "slower")
    project("dvc", "checkout")
    assert "lr: 0.001" in (project.folder / "params.yaml").read_text()
    assert "up to date" in project("dvc", "status")


@pytest.mark.slow
def test_a_sweep_runs_the_queued_code_and_goes_on_after_a_failure(project: Project) -> None:
    values = ("-S", "train.lr=-1,0.001", "-S", "train.seed=range(0,2)")
    project("dvc", "exp", "run", "--queue", "--name", "sweep", *values)
    # While the experiments wait, the code changes and the MNIST files disappear.
    (project.folder / "stages" / "train.py").write_text("raise SystemExit('the edited code')\n")
    shutil.rmtree(project.folder.parent / "tiny")

    ended = project.run_queue()
    good, bad = ("sweep-3", "sweep-4"), ("sweep-1", "sweep-2")
    assert ended == dict.fromkeys(good, "Success") | dict.fromkeys(bad, "Failed")
    for name in ended:
        log = project("dvc", "queue", "logs", name)
        assert "Stage 'download' didn't change, skipping" in log
        reason = "params.yaml: train.lr: must be greater than 0 (got -1)"
        assert (reason in log.splitlines()) == (name in bad)
        assert "Traceback" not in log
    assert project("git", "status", "--short") == " M stages/train.py\n"

    table = project("env", "COLUMNS=100", *SHOW).splitlines()
    assert max(map(len, table)) <= 100
    assert "…" not in "".join(table)
    assert {"test.accuracy", "train.lr", "train.seed"} <= set("".join(table).split())


@pytest.mark.slow
def test_every_way_to_run_gives_the_same_bytes(project: Project) -> None:
    project("dvc", "exp", "run", "--force", "--name", "here")
    project("dvc", "exp", "run", "--force", "--name", "aside", "--temp")
    project("dvc", "exp", "run", "--force", "--name", "queued-1", "--queue")
    project("dvc", "exp", "run", "--force", "--name", "queued-2", "--queue")
    assert project.run_queue() == {"queued-1": "Success", "queued-2": "Success"}
    experiments = references(project)
    assert set(experiments) == {"here", "aside", "queued-1", "queued-2"}
    for name, reference in experiments.items():  # HEAD holds what `dvc repro` gave
        assert project("git", "diff", "--stat", "HEAD", reference) == "", name
