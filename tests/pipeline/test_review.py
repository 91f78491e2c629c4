"""`.ci/review` judges a change against its base branch."""

from pathlib import Path

import pytest

from tests.support import posix
from tests.support.project import Project

pytestmark = posix.only  # bash

TREE = "https://git.example.com/team/mnist/blob/1234abc"


def test_a_stale_lock_fails_until_the_files_that_the_report_names_are_committed(
    project: Project,
) -> None:
    project("git", "switch", "--quiet", "--create", "change")
    project.set_param("train", "lr", 0.001)
    project("git", "commit", "--quiet", "--all", "--message=A lower rate, without dvc repro")

    process = project.run(".ci/review", "main", "review")
    assert process.returncode == 1
    assert process.stdout.endswith("\nThe report is in review/report.md\n")
    report = (project.folder / "review" / "report.md").read_text()
    assert report.startswith("**Stale:**")
    for name in ("dvc.lock", "metrics/metrics.json", "metrics/predictions.csv"):
        assert f" M {name}\n" in report
    assert "This network is worse:" in report

    project("git", "commit", "--quiet", "--all", "--message=What dvc repro changed")
    output = project(".ci/review", "HEAD~2", "review", TREE)
    assert output.endswith("\nThe report is in review/report.md\n")
    report = (project.folder / "review" / "report.md").read_text()
    assert "This network is worse:" in report
    assert "train.lr" in report
    assert f"[mistakes]({TREE}/metrics/plots/mistakes.png)" in report
    assert list(Path(project.folder, "review").glob("*.png"))
    assert project("git", "status", "--short") == ""


@pytest.mark.parametrize(
    ("lr", "base", "reason"),
    [(-1, "main", "train.lr: must be greater than 0"), (0.05, "nowhere", "nowhere")],
)
def test_a_failure_ends_the_review_without_a_report(
    project: Project, lr: float, base: str, reason: str
) -> None:
    report = project.folder / "review" / "report.md"
    report.parent.mkdir()
    report.write_text("that of an earlier run")
    project.set_param("train", "lr", lr)
    process = project.run(".ci/review", base, "review")
    assert process.returncode != 0
    assert reason in process.stdout
    assert process.stdout.endswith("There is no report, because the last command above failed\n")
    assert not report.exists()


def test_missing_arguments_are_named(project: Project) -> None:
    process = project.run(".ci/review", "main")
    assert process.returncode == 2
    assert process.stdout.startswith("usage: .ci/review BASE FOLDER [URL]")
