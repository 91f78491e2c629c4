"""What the page says: from arrays and tables to numbers, texts and small pictures."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from stages.common import mnist, tables
from stages.common.errors import UserError
from stages.common.intervals import Rate, rate
from stages.common.tables import Prediction
from stages.model.network import Network
from tools.operators import constants, operators

EXAMPLES = 12  # images at most behind a cell of the confusion matrix, to bound the page's size
SHEET_COLUMNS = 24  # images in a row of the sheet
HEAT_LEVELS = 5  # shades of the confusion matrix


class Cell(NamedTuple):
    """The test images of one digit that were taken for one digit."""

    label: int
    predicted: int
    images: int
    heat: int  # 0 to HEAT_LEVELS; 0 where there is no mistake


def check(predictions: pd.DataFrame, images: mnist.Images, path: Path) -> None:
    """The predictions must be those of the images.

    Raises:
        UserError: they are not as many.
    """
    if len(predictions) != len(images):
        raise UserError(
            f"{path}: {len(predictions):,} rows for {len(images):,} test images;"
            " make it again with `dvc repro`"
        )


def rates(predictions: pd.DataFrame) -> tuple[Rate, dict[int, Rate]]:
    """The accuracy on all test images, and that on the images of each digit."""
    correct = predictions["label"] == predictions["predicted"]
    per_digit = {
        int(digit): rate(int(group.sum()), len(group))
        for digit, group in correct.groupby(predictions["label"])
    }
    return rate(int(correct.sum()), len(correct)), per_digit


def confusion(predictions: pd.DataFrame) -> list[list[Cell]]:
    """A row for each label, a cell for each prediction. Heat grows with the square root of the
    count, so that a single mistake is seen beside the most frequent one."""
    counts = tables.count_confusions(predictions)
    wrong = np.where(np.eye(mnist.CLASSES, dtype=bool), 0, counts)
    heat = np.ceil(HEAT_LEVELS * np.sqrt(wrong / max(1, wrong.max()))).astype(int)
    return [
        [
            Cell(label, predicted, int(counts[label, predicted]), int(heat[label, predicted]))
            for predicted in range(mnist.CLASSES)
        ]
        for label in range(mnist.CLASSES)
    ]


def examples(predictions: pd.DataFrame) -> pd.DataFrame:
    """The rows whose images the page shows, by cell, the most telling first: of the mistakes the
    most confident, of the correct ones the least."""
    wrong = predictions["label"] != predictions["predicted"]
    telling = predictions["confidence"].where(wrong, -predictions["confidence"])
    order = ["label", "predicted", "telling", "index"]
    rows = predictions.assign(telling=telling)
    rows = rows.sort_values(order, ascending=[True, True, False, True])
    return rows.groupby(["label", "predicted"]).head(EXAMPLES)[list(Prediction._fields)]


def sheet(images: mnist.Images) -> bytes:
    """Images (n, 28, 28) side by side in one PNG, SHEET_COLUMNS in a row, dark on white."""
    picture = Image.fromarray(255 - mnist.mosaic(images, SHEET_COLUMNS))
    content = io.BytesIO()
    picture.save(content, "PNG", optimize=True)
    return content.getvalue()


def embed_network(network: Network) -> dict[str, Any]:
    """The network as the page's script reads it: its operators, and the shapes of the tensors
    that they name. Then all numbers, one after the other, as little-endian float32 in base64."""
    tensors = constants(network)
    numbers = b"".join(tensor.astype("<f4").tobytes() for tensor in tensors.values())
    return {
        "operators": operators(network),
        "shapes": [[name, list(tensor.shape)] for name, tensor in tensors.items()],
        "numbers": base64.b64encode(numbers).decode(),
    }


def data_uri(png: bytes) -> str:
    """A picture as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def pictures(folder: Path) -> dict[str, str]:
    """The PNG files in a folder, by name: what each shows, and its data URI.

    Raises:
        UserError: there are none.
    """
    paths = sorted(folder.glob("*.png"), reverse=True)  # the training before the mistakes
    if not paths:
        raise UserError(f"{folder}: holds no pictures; make them with `dvc repro`")
    return {path.stem.replace("_", " ").capitalize(): data_uri(path.read_bytes()) for path in paths}


def params_texts(groups: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The groups of params.yaml: in each, keys to texts."""
    return {
        str(group): {str(key): text(value) for key, value in values.items()}
        for group, values in groups.items()
    }


def text(value: Any) -> str:  # noqa: ANN401 - whatever YAML can hold
    """A value of params.yaml as a person reads it; what is nested is on lines of its own."""
    if isinstance(value, Mapping):
        return "\n".join(f"{key}: {text(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return "\n".join(map(text, value))
    return str(value)
