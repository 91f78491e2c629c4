"""`dvc exp run` with changed parameters, good and bad."""

import json

from tests.pipeline.conftest import Project


def test_an_experiment_changes_the_metrics_that_git_compares(project: Project) -> None:
    output = project("dvc", "exp", "run", "--name", "slow", "-S", "train.lr=1e-3")
    assert "download' didn't change" in output.replace("Stage '", "")
    diff = json.loads(project("dvc", "metrics", "diff", "HEAD", "--json"))
    assert diff["metrics/metrics.json"]["test.accuracy"]["diff"] < 0
    params = json.loads(project("dvc", "params", "diff", "HEAD", "--json"))
    assert params["params.yaml"] == {"train.lr": {"old": 0.05, "new": 0.001, "diff": -0.049}}
    assert "slow" in project("dvc", "exp", "show", "--csv", "--no-pager")


def test_a_bad_value_ends_with_one_line_and_git_and_dvc_restore_the_rest(project: Project) -> None:
    process = project.run("dvc", "exp", "run", "-S", "train.lr=-1")
    assert process.returncode != 0
    assert "params.yaml: train.lr: must be greater than 0 (got -1)" in process.stdout
    assert "Traceback" not in process.stdout
    project("git", "checkout", "--", ".")  # DVC removes a stage's outputs before it runs it
    project("dvc", "checkout", "--force")
    assert project("git", "status", "--short") == ""
    assert "up to date" in project("dvc", "status")
