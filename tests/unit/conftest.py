"""Folders laid out like the repository, with tiny data."""

import shutil
from pathlib import Path

import pytest

from stages.common import params
from stages.model.network import NetworkConfig
from tests.support import runner, tiny


@pytest.fixture
def config() -> NetworkConfig:
    """The network of params.yaml."""
    return params.load(runner.ROOT / "params.yaml", "model", NetworkConfig)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """The tiny data and params.yaml, for the test to work in."""
    return _workspace(tmp_path)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace after the stage train, only for reading."""
    folder = _workspace(tmp_path_factory.mktemp("trained"))
    runner.run(folder, "train", "--workers=2")
    return folder


@pytest.fixture(scope="session")
def evaluated(trained: Path) -> Path:
    """The same workspace after the stage evaluate, only for reading."""
    runner.run(trained, "evaluate", "--workers=2")
    return trained


@pytest.fixture
def copied(evaluated: Path, tmp_path: Path) -> Path:
    """The evaluated workspace, for the test to change."""
    return shutil.copytree(evaluated, tmp_path, dirs_exist_ok=True)


def _workspace(folder: Path) -> Path:
    tiny.write(folder / runner.DATA)
    runner.write_params(folder, train={"epochs": 2, "batch_size": 20, "lr": 0.01, "log_every": 12})
    return folder
