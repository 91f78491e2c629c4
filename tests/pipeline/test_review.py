"""`.ci/review` judges a change against its base branch."""

from pathlib import Path

from tests.support.project import Project

TREE = "https://git.example.com/team/mnist/blob/1234abc"


def test_a_stale_lock_fails_until_the_files_that_the_report_names_are_committed(
    project: Project,
) -> None:
    project("git", "switch", "--quiet", "--create", "change")
    project.set_param("train", "lr", 0.001)
    project("git", "commit", "--quiet", "--all", "--message=A lower rate, without dvc repro")

    process = project.run(".ci/review", "main", "review")
    assert process.returncode == 1
    report = (project.folder / "review" / "report.md").read_text()
    assert report.startswith("**Stale:**")
    for name in ("dvc.lock", "metrics/metrics.json", "metrics/predictions.csv"):
        assert f" M {name}\n" in report
    assert "Worse:" in report

    project("git", "commit", "--quiet", "--all", "--message=What dvc repro changed")
    project(".ci/review", "HEAD~2", "review", TREE)
    report = (project.folder / "review" / "report.md").read_text()
    assert "Worse:" in report
    assert "train.lr" in report
    assert f"[mistakes]({TREE}/metrics/plots/mistakes.png)" in report
    assert list(Path(project.folder, "review").glob("*.png"))


def test_a_pipeline_that_fails_ends_the_review(project: Project) -> None:
    project.set_param("train", "lr", -1)
    process = project.run(".ci/review", "main", "review")
    assert process.returncode != 0
    assert "train.lr: must be greater than 0" in process.stdout
    assert not (project.folder / "review" / "report.md").exists()
