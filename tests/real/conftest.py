"""The real data and weights, where `dvc repro` has made them."""

import hashlib
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

from stages.common import mnist
from stages.model import weights
from stages.model.network import Network
from tests.support.outputs import DATA, MODEL, PREDICTIONS
from tests.support.runner import ROOT


@pytest.fixture(scope="session")
def predictions() -> pd.DataFrame:
    """The committed predictions. Skips the test if the weights that made them are not here."""
    lock: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / "dvc.lock")
    (recorded,) = [out for out in lock["stages"]["train"]["outs"] if ROOT / out["path"] == MODEL]
    if not MODEL.exists() or not DATA.exists():
        pytest.skip("no real data and weights here; make them with `dvc repro`")
    if hashlib.md5(MODEL.read_bytes(), usedforsecurity=False).hexdigest() != recorded["md5"]:
        pytest.skip("the weights are not those of dvc.lock; `dvc repro` or `dvc checkout`")
    return pd.read_csv(PREDICTIONS)


@pytest.fixture(scope="session")
def images(predictions: pd.DataFrame) -> mnist.Images:
    """The 10,000 test images."""
    images, _ = mnist.load(DATA, "test")
    assert len(images) == len(predictions) == 10_000
    return images


@pytest.fixture(scope="session")
def network(predictions: pd.DataFrame) -> Network:
    """The committed network."""
    assert len(predictions)
    return weights.load(MODEL)
