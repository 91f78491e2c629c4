"""What the commands of the documentation write is ignored by git, and nothing that git tracks."""

import subprocess

from tests.support.runner import ROOT

WRITTEN = [
    ".venv/bin/python", ".progress/file", "dvc_plots/index.html", "model.onnx", "page/index.html",
    "review/report.md", "seen/one.png", "v1.safetensors",
]  # fmt: skip


def git(*arguments: str) -> list[str]:
    command = ["git", *arguments]
    return subprocess.check_output(command, cwd=ROOT, text=True).splitlines()


def test_git_ignores_what_is_written() -> None:
    assert git("check-ignore", *WRITTEN) == WRITTEN


def test_no_file_that_git_tracks_is_ignored() -> None:
    assert git("ls-files", "--cached", "--ignored", "--exclude-standard") == []
