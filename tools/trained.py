"""The trained network of the workspace, and whether what a tool makes of it answers as it did.

After `git checkout` the weights may still be those of another branch: DVC fetches them only when it
is told to. So they are compared with dvc.lock. And one test image of each class goes through the
file that a tool is about to write: it must give the confidences of predictions.csv.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

from stages.common import mnist, tables
from stages.common.errors import UserError
from stages.common.images import Images
from stages.common.tables import Prediction
from stages.model import weights
from stages.model.network import Network
from tools.dvc_files import DATA, MODEL, PREDICTIONS, check, locate

TOLERANCE = 1e-4  # of a probability; float32 in another order gave 2e-6


def load() -> Network:
    """The network, from the weights that dvc.lock names.

    Raises:
        UserError: the weights are missing, damaged, or another run's.
    """
    path = locate(MODEL)
    network = weights.load(path)
    check(path.read_bytes(), path.as_posix())
    return network


def read_tests() -> tuple[Images, pd.DataFrame]:
    """The test images, and a row of predictions.csv for each.

    Raises:
        UserError: a file is missing or damaged, or the predictions are of other images.
    """
    table = locate(PREDICTIONS)
    predictions = tables.read(table, Prediction)
    images, labels = mnist.load(locate(DATA), "test")
    if not np.array_equal(predictions["label"], labels):
        raise UserError(
            f"{table}: its {len(predictions):,} labels are not those of the {len(images):,} test"
            " images; make it again with `dvc repro`"
        )
    return images, predictions


def one_of_each(predictions: pd.DataFrame) -> pd.DataFrame:
    """The rows of the first test image of each class."""
    return predictions.groupby("label").head(1)


def compare(written: str, probabilities: npt.ArrayLike, rows: pd.DataFrame) -> None:
    """Compare the probabilities (k, classes) that a file gives with those in `rows` (k of them).

    Raises:
        UserError: they differ.
    """
    seen = np.asarray(probabilities)[np.arange(len(rows)), rows["predicted"]]
    for row, probability in zip(rows.itertuples(), seen, strict=True):
        if not abs(probability - row.confidence) <= TOLERANCE:  # also not a number
            raise UserError(
                f"{written}: not written: it would say {row.predicted} of test image {row.Index}"
                f" with {probability:.6f}, predictions.csv with {row.confidence:.6f}; run"
                " `dvc repro`; if that changes nothing, compare tools/operators.py with the layers"
            )
