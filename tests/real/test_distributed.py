"""The default on the real data, with two processes, in a new clone."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.support.outputs import DATA
from tests.support.project import ENVIRONMENT, copy_tracked_files
from tests.support.runner import ROOT

pytestmark = [pytest.mark.real, pytest.mark.slow]


def test_two_processes_give_the_committed_lock(predictions: pd.DataFrame, tmp_path: Path) -> None:
    assert len(predictions)
    copy_tracked_files(tmp_path)
    tool = ["--nproc-per-node=2", "-m", "tools.distributed", "repro", "--force"]
    for command in (
        ["git", "init", "--quiet"],
        [sys.executable, "-m", "torch.distributed.run", *tool],
    ):
        process = subprocess.run(
            command,
            cwd=tmp_path,
            env=ENVIRONMENT
            | {"MNIST_DIR": str(DATA), "DVC_SITE_CACHE_DIR": str(tmp_path / "site")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stdout
    # Each process has one of the two shards, so it needs one worker.
    assert "Training on 60,000 images (cpu, workers: 1)" in process.stdout
    assert (tmp_path / "dvc.lock").read_bytes() == (ROOT / "dvc.lock").read_bytes()
