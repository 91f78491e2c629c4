"""What the commands of the documentation write is ignored by git."""

import subprocess

import pytest

from tests.support.runner import ROOT


@pytest.mark.parametrize(
    "path",
    [
        ".venv/bin/python",
        ".progress/run.json",
        "dvc_plots/index.html",
        "model.onnx",
        "page/index.html",
        "review/report.md",
        "seen/one.png",
        "v1.safetensors",
    ],
)
def test_git_ignores(path: str) -> None:
    command = ["git", "check-ignore", "--quiet", path]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def test_no_file_that_git_tracks_is_ignored() -> None:
    command = ["git", "ls-files", "--cached", "--ignored", "--exclude-standard"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout == b""
