"""What the page says of the run: numbers, texts, small pictures and the network."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from stages.common import files, tables
from stages.common.errors import UserError
from stages.common.images import Images, mosaic
from stages.common.intervals import rate
from stages.common.tables import Prediction
from stages.model.network import Network
from tools import trained
from tools.dvc_files import MODEL, PICTURES, locate
from tools.git import PARAMS, WORKSPACE, load
from tools.operators import constants, operators
from tools.yaml_files import parse_yaml

EXAMPLES = 12  # images at most behind a cell of the confusion matrix, to bound the page's size
SHEET_COLUMNS = 24  # images in a row of the sheet
HEAT_LEVELS = 5  # shades of the confusion matrix
TOUCHABLE = {"confusion_matrix", "per_digit_accuracy"}  # pictures that page.html has as tables


class Cell(NamedTuple):
    """The test images of one digit that were taken for one digit."""

    images: int
    heat: int  # 0 to HEAT_LEVELS; 0 where there is no mistake


def read(images: Images, predictions: pd.DataFrame) -> dict[str, Any]:
    """What page.html names, of the run in the workspace and its predictions for the test images.

    Raises:
        UserError: a file is missing or damaged.
    """
    network = trained.load()
    counts = tables.count_confusions(predictions, network.images.classes)
    correct, n = counts.diagonal().tolist(), counts.sum(axis=1).tolist()
    shown = examples(predictions)
    return {
        "params": {
            group: {key: text(value) for key, value in values.items()}
            for group, values in load(WORKSPACE, PARAMS, parse_yaml).items()
        },
        "classes": network.images.classes,
        "overall": rate(sum(correct), sum(n)),
        "per_digit": {digit: rate(correct[digit], n[digit]) for digit in range(len(n)) if n[digit]},
        "confusion": confusion(counts),
        "examples": {"columns": SHEET_COLUMNS, "rows": shown.astype(object).to_numpy().tolist()},
        "sheet": data_uri(sheet(images[shown["index"]])),
        "pictures": pictures(locate(PICTURES)),
        "network": embed_network(network),
        "parameters": sum(tensor.numel() for tensor in network.state_dict().values()),
        "digest": files.sha256(locate(MODEL).read_bytes()),
    }


def confusion(counts: npt.NDArray[np.int64]) -> list[list[Cell]]:
    """A row for each label, a cell for each prediction. Heat grows with the square root of the
    count, so that a single mistake is seen beside the most frequent one."""
    wrong = counts - np.diag(counts.diagonal())
    heat = np.ceil(HEAT_LEVELS * np.sqrt(wrong / max(1, wrong.max()))).astype(int)
    return [list(map(Cell, *rows)) for rows in zip(counts.tolist(), heat.tolist(), strict=True)]


def examples(predictions: pd.DataFrame) -> pd.DataFrame:
    """The rows whose images the page shows, by cell, the most telling first: of the mistakes the
    most confident, of the correct ones the least."""
    wrong = predictions["label"] != predictions["predicted"]
    telling = predictions["confidence"].where(wrong, -predictions["confidence"])
    order = ["label", "predicted", "telling", "index"]
    rows = predictions.assign(telling=telling)
    rows = rows.sort_values(order, ascending=[True, True, False, True])
    return rows.groupby(["label", "predicted"]).head(EXAMPLES)[list(Prediction._fields)]


def sheet(images: Images) -> bytes:
    """Images (n, height, width, channels) side by side in one PNG, SHEET_COLUMNS in a row. Those of
    one channel are dark on white."""
    content = io.BytesIO()
    tiles = mosaic(images, SHEET_COLUMNS)
    picture = Image.fromarray(255 - tiles[..., 0] if tiles.shape[-1] == 1 else tiles)
    picture.save(content, "PNG", optimize=True)
    return content.getvalue()


def embed_network(network: Network) -> dict[str, Any]:
    """The network as the page's script reads it: the shape of its input, its operators, and the
    shapes of the tensors that they name. Then all numbers, one after the other, as little-endian
    float32 in base64."""
    tensors = constants(network)
    numbers = b"".join(tensor.astype("<f4").tobytes() for tensor in tensors.values())
    return {
        "input": [network.images.channels, network.images.height, network.images.width],
        "operators": operators(network),
        "shapes": [[name, list(tensor.shape)] for name, tensor in tensors.items()],
        "numbers": base64.b64encode(numbers).decode(),
    }


def pictures(folder: Path) -> dict[str, str]:
    """The PNG files in a folder, by name: what each shows, and its data URI. Not those that the
    page shows as something to touch.

    Raises:
        UserError: there are none.
    """
    paths = sorted(folder.glob("*.png"), reverse=True)  # the training before the mistakes
    paths = [path for path in paths if path.stem not in TOUCHABLE]
    if not paths:
        raise UserError(f"{folder}: holds no pictures; make them with `dvc repro`")
    return {path.stem.replace("_", " ").capitalize(): data_uri(path.read_bytes()) for path in paths}


def data_uri(png: bytes) -> str:
    """A picture as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def text(value: Any) -> str:  # noqa: ANN401 - whatever YAML can hold
    """A value of params.yaml as a person reads it; what is nested is on lines of its own."""
    if isinstance(value, Mapping):
        return "\n".join(f"{key}: {text(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return "\n".join(map(text, value))
    return str(value)
