"""All stages on tiny data, and what they give on this machine as it is."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from stages.common import numerics
from tests import tiny
from tests.unit import project

RUN = "from tests.invariance import in_turn; in_turn.run()"


@dataclass
class Pipeline:
    """Tiny data, and how to run all stages on them."""

    data: Path
    sha256: dict[str, str]

    def __call__(
        self,
        folder: Path,
        code: str = RUN,
        python: Sequence[str] = (sys.executable,),
        umask: int = -1,
        **variables: str,
    ) -> dict[str, str]:
        """The SHA-256 of all files after `code` ran in a new folder: six steps of training, in a
        Python that inherits no setting that decides the bits."""
        folder.mkdir(parents=True)
        project.write_params(
            folder,
            download={"sha256": self.sha256},
            train={"epochs": 2, "batch_size": 200, "lr": 0.05, "log_every": 2} | tiny.RECIPE,
            evaluate={"batch_size": 50},
        )
        inherited = {k: v for k, v in os.environ.items() if k not in numerics.SETTINGS}
        process = subprocess.run(
            [*python, "-c", code],
            cwd=folder,
            env=inherited
            | {"PYTHONPATH": str(project.ROOT), "MNIST_DIR": str(self.data)}
            | variables,
            umask=umask,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stdout
        return project.digests(folder)


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    folder = tmp_path_factory.mktemp("tiny")
    return Pipeline(folder, tiny.write(folder))


@pytest.fixture(scope="session")
def here(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digests on this machine, with two workers."""
    digests = pipeline(tmp_path_factory.mktemp("here") / "run", PIPELINE_WORKERS="2")
    # params.yaml, 5 data, lock, 3 weights, first images, 4 tables and metrics, 7 pictures
    assert len(digests) == 22
    return digests
