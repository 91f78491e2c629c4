"""Folders laid out like the repository, with tiny data or with files made by hand."""

import copy
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from stages.common.images import ImageFormat
from stages.model.network import Network, NetworkConfig
from tests.support import run_files, runner, tiny


@pytest.fixture
def config() -> NetworkConfig:
    """The network's parameters in the tests."""
    return runner.load_params("model", NetworkConfig)


@pytest.fixture
def image_format() -> ImageFormat:
    """The format of the images in the tests."""
    return runner.load_params("images", ImageFormat)


@pytest.fixture
def network(
    config: NetworkConfig, image_format: ImageFormat, monkeypatch: pytest.MonkeyPatch
) -> Network:
    """A network of the tests' own, for what should not depend on that of the project."""
    layers = {
        "conv1": nn.Conv2d(1, 10, 5),  # (n, 10, 24, 24)
        "pool1": nn.MaxPool2d(4),  # (n, 10, 6, 6)
        "relu1": nn.ReLU(),
        "flatten": nn.Flatten(),
        "fc1": nn.Linear(360, 50),
        "relu2": nn.ReLU(),
        "fc2": nn.Linear(50, 10),
        "log_softmax": nn.LogSoftmax(dim=1),
    }
    monkeypatch.setattr("stages.model.network.layers", lambda _, __: copy.deepcopy(layers))
    torch.manual_seed(3)
    return Network(config, image_format)


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


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository, the working directory; on its branch main a run with one mistake."""
    monkeypatch.chdir(tmp_path)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Tester")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "tester@example.com")
    run_files.git("init", "--quiet", "--initial-branch=main")
    run_files.write_run(tmp_path, 0.001, 0, [*run_files.RIGHT[1:], 8])
    run_files.commit()
    return tmp_path


def _workspace(folder: Path) -> Path:
    tiny.write(folder / runner.DATA)
    shutil.copy(runner.ROOT / "dvc.yaml", folder)
    runner.write_params(folder, train={"epochs": 2, "batch_size": 20, "lr": 0.01, "log_every": 12})
    return folder
