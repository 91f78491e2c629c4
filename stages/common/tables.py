"""The CSV tables in metrics/: what a row holds, how a table is written, and how it is read.

Each table is a class below, a row is one of its objects, and its fields are the columns.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stages.common import inputs
from stages.common.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


class History(NamedTuple):
    """A row of history.csv: the mean loss and accuracy over the batches since the row before."""

    epoch: int  # from 1
    batch: int  # in this epoch, from 1
    step: int  # in all epochs, from 1
    lr: float  # the learning rate of the last of these batches
    loss: float  # nats, a mean over the images
    accuracy: float  # fraction of the images


class EpochScores(NamedTuple):
    """A row of epochs.csv: on the test images, and on the validation images if there are any."""

    epoch: int
    loss: float
    accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None


class Prediction(NamedTuple):
    """A row of predictions.csv: one test image."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls
    label: int
    predicted: int
    confidence: float  # the probability that the network gives the predicted digit


Table = type[History] | type[EpochScores] | type[Prediction]


def encode(table: Table, rows: Sequence[tuple[Any, ...]]) -> bytes:
    """The rows as CSV under a header. Floats have six decimals, and None is an empty cell."""
    return ",".join(table._fields).encode() + b"\n" + encode_rows(rows)


def encode_rows(rows: Sequence[tuple[Any, ...]]) -> bytes:
    """The same without the header, to add to a table."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [f"{value:.6f}" if isinstance(value, float) else value for value in row] for row in rows
    )
    return text.getvalue().encode()


def decode(table: Table, content: bytes, columns: Sequence[str] | None = None) -> "pd.DataFrame":
    """The inverse of `encode`, for all columns or for those that are named. The content may have
    further columns, as a table of a later revision may.

    Raises:
        ValueError: a column or every row is missing, a value has another type, or the rows of
            predictions are not those of images 0, 1, 2, ... with classes from 0 to 255.
    """
    import pandas as pd  # noqa: PLC0415 - a quarter of a second that those who only write save

    kinds = {name: table.__annotations__[name] for name in columns or table._fields}
    types = {name: int if kind is int else float for name, kind in kinds.items()}
    frame = pd.read_csv(io.BytesIO(content), usecols=list(types), dtype=types)[list(types)]
    if frame.empty:
        raise ValueError("no rows")
    for name, kind in kinds.items():
        if kind is float and frame[name].isna().any():
            raise ValueError(f"a row has no {name}")
    if "index" in types and (frame["index"] != frame.index).any():
        raise ValueError("the indices are not 0, 1, 2, ...")
    for name in {"label", "predicted"} & set(types):
        if not frame[name].between(0, 255).all():
            raise ValueError(f"{name} is not a class from 0 to 255")
    return frame


def read(path: Path, table: Table) -> "pd.DataFrame":
    """The table in a file that a stage wrote, as `decode` reads it.

    Raises:
        UserError: the file is missing, or it does not hold this table.
    """
    try:
        return decode(table, inputs.read(path))
    except FileNotFoundError:
        raise UserError(f"{path}: not found; make it with `dvc repro`") from None
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path}: not the expected table ({reason}); make it again with `dvc repro`"
        ) from None


def count_classes(*predictions: "pd.DataFrame") -> int:
    """The largest class of any label or prediction, plus 1."""
    return 1 + max(int(table[["label", "predicted"]].to_numpy().max()) for table in predictions)


def count_confusions(predictions: "pd.DataFrame", classes: int) -> npt.NDArray[np.int64]:
    """How many images of each class were taken for each: (label, prediction)."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (predictions["label"], predictions["predicted"]), 1)
    return counts
