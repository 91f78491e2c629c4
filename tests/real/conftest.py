"""The committed predictions, where `dvc repro` has made the data and the weights behind them."""

import pandas as pd
import pytest

from stages.common import mnist
from stages.common.images import Images
from tests.support.outputs import DATA, MODEL, PREDICTIONS
from tests.support.runner import ROOT
from tools.dvc_files import LOCK, Lock, md5


@pytest.fixture(scope="session")
def predictions() -> pd.DataFrame:
    """The committed predictions. Skips the test if the weights that made them are not here."""
    if not MODEL.exists() or not DATA.exists():
        pytest.skip("no real data and weights here; make them with `dvc repro`")
    recorded = Lock.parse((ROOT / LOCK).read_bytes()).outputs
    if md5(MODEL.read_bytes()) != recorded[MODEL.relative_to(ROOT).as_posix()]:
        pytest.skip("the weights are not those of dvc.lock; `dvc repro` or `dvc checkout`")
    return pd.read_csv(PREDICTIONS)


@pytest.fixture(scope="session")
def images(predictions: pd.DataFrame) -> Images:
    """The 10,000 test images."""
    images, _ = mnist.load(DATA, "test")
    assert len(images) == len(predictions) == 10_000
    return images
