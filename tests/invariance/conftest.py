"""All stages on tiny data, with a Python, an environment and a umask that the test chooses."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from stages.model import numerics
from tests.support import runner, tiny


@dataclass
class Pipeline:
    """Tiny data, and how to run all stages on them."""

    data: Path
    sha256: dict[str, str]

    def __call__(
        self,
        folder: Path,
        first: str = "",
        python: Sequence[str] = (sys.executable,),
        umask: int = -1,
        **variables: str,
    ) -> dict[str, str]:
        """Run the code `first` and then all stages in a new folder; the SHA-256 of all files there
        afterwards. Training takes six steps, of 50 or 25 images. Python inherits none of the
        settings that decide the bits."""
        folder.mkdir(parents=True)
        runner.write_params(
            folder,
            download={"sha256": self.sha256},
            train=tiny.RECIPE
            | {"epochs": 2, "batch_size": 50, "lr": 0.05, "log_every": 2, "validation_size": 50},
            evaluate={"batch_size": 20},
        )
        inherited = {k: v for k, v in os.environ.items() if k not in numerics.SETTINGS}
        ours = {"PYTHONPATH": str(runner.ROOT), "MNIST_DIR": str(self.data)}
        process = subprocess.run(
            [*python, "-c", f"from tests.invariance import all_stages\n{first}\nall_stages.run()"],
            cwd=folder,
            env=inherited | ours | variables,
            umask=umask,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stdout
        return runner.digests(folder)


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    folder = tmp_path_factory.mktemp("tiny")
    return Pipeline(folder, tiny.write(folder, train=175, test=50))  # an emulator is slow


@pytest.fixture(scope="session")
def here(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digests on this machine, with two workers."""
    digests = pipeline(tmp_path_factory.mktemp("here") / "run", PIPELINE_WORKERS="2")
    # params.yaml, 5 data, 3 weights, first images, 4 tables and metrics, 7 pictures, an empty lock
    assert len(digests) == 22
    return digests
