import sys
from pathlib import Path

import pytest

from tests.support.run_files import RIGHT, commit, git, write_run
from tools import history


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["history", *arguments])
        history.main()
    return [line.rpartition("  ")[0] for line in capsys.readouterr().out.splitlines()]


def test_each_commit_that_changed_the_model_is_compared_with_the_one_before(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = git("rev-parse", "--short=7", "HEAD")
    write_run(repository, 0.01, 0, [3, *[8] * 9])
    worse = commit()[:7]
    (repository / "other").touch()
    commit()
    write_run(repository, 0.02, 0, RIGHT)
    better = commit()[:7]
    git("commit", "--quiet", "--allow-empty", "--message=no model")
    assert [line.split() for line in printed(capsys)] == [
        ["commit", "accuracy", "network", "p"],
        [better, "100.00", "%", "better", "0.0039"],
        [worse, "10.00", "%", "worse", "0.0078"],
        [first, "90.00", "%", "-", "-"],
    ]
    assert len(printed(capsys, "-n", "1")) == 2


def test_what_this_version_cannot_read_ends_the_table(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(repository, 0.01, 0, [3, *[8] * 9])
    (repository / "metrics/epochs.csv").write_text("another,table\n")
    commit()
    write_run(repository, 0.02, 0, RIGHT)
    newest = commit()[:7]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["history"])
        history.main()
    why, _, row = capsys.readouterr().out.splitlines()
    assert why.startswith("Older ones cannot be read: ")
    assert row.startswith(newest)
