"""What changed, as pictures: the digits that broke, those that were fixed, the training."""

from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.common import files, mnist, tables
from stages.common.errors import UserError
from stages.common.tables import History
from stages.plot import BLUE, RED, encode_png, format_accuracy, format_loss, image_grid, set_style
from tools.compare.runs import Run
from tools.dvc_files import HISTORY
from tools.git import load

COLUMNS = ["loss", "accuracy"]
MAX_SHOWN = 50  # digits in a picture
DPI = 100

Mask = npt.NDArray[np.bool_]  # (n,), which of the test images
Training = tuple[pd.DataFrame, pd.DataFrame]  # history, and the scores after each epoch


def write(folder: Path, data: Path, base: Run, head: Run) -> list[str]:
    """Draw the pictures of the images in `data` into a folder; their names.

    Raises:
        UserError: MNIST is not in `data` or not what the revisions were scored on, or a
            revision lacks its history.
    """
    images, labels = mnist.load(data, "test")
    before, after = base.predictions, head.predictions
    if not np.array_equal(labels, before["label"]):
        raise UserError(f"{data}: not the images that {base.revision} was scored on")
    was_right, is_right = (side["predicted"].to_numpy() == labels for side in (before, after))

    set_style()
    pictures = {
        "broken.png": digits(images, before, after, was_right & ~is_right, "head"),
        "fixed.png": digits(images, before, after, ~was_right & is_right, "base"),
        "training_curves.png": curves(
            training(base), training(head), f"{base.revision} → {head.revision}"
        ),
    }
    for name, figure in pictures.items():
        files.write(folder / name, encode_png(figure, DPI))
    return list(pictures)


def training(run: Run) -> Training:
    """The scores during training and after each epoch.

    Raises:
        UserError: the revision lacks them.
    """
    history = partial(tables.decode, History, columns=["epoch", "batch", *COLUMNS])
    return load(run.revision, run.path(HISTORY), history), run.epochs


def digits(
    images: mnist.Images,  # (n, 28, 28)
    base: pd.DataFrame,
    head: pd.DataFrame,
    chosen: Mask,
    wrong: Literal["base", "head"],
) -> Figure:
    """The chosen images, each with its true label and both predictions. One side is wrong about
    all of them: its most confident mistakes come first."""
    confidence = (base if wrong == "base" else head)["confidence"][chosen]
    shown = confidence.sort_values(ascending=False, kind="stable").index[:MAX_SHOWN]
    rows = zip(
        base["label"][shown], base["predicted"][shown], head["predicted"][shown], strict=True
    )
    titles = [f"true {label}\n{before} → {after}" for label, before, after in rows]
    what = "fixed" if wrong == "base" else "broken"
    heading = f"{len(confidence):,} of {len(images):,} test images {what} (base → head)"
    if len(shown) < len(confidence):
        heading += f", here the {len(shown)} of which {wrong} was surest"
    return image_grid(images[shown], titles, columns=10, heading=heading)


def curves(base: Training, head: Training, heading: str) -> Figure:
    """Loss and accuracy in training and on the test images, over epochs, so that runs with other
    batch sizes can be compared."""
    figure = Figure(figsize=(9, 3.7), layout="constrained")
    figure.suptitle(heading, parse_math=False)
    panels = dict(zip(COLUMNS, figure.subplots(1, 2), strict=True))
    for column, axes in panels.items():
        draw_training(axes, base, column, "base", RED)
        draw_training(axes, head, column, "head", BLUE)
        axes.set_xlabel("Epoch")
    format_loss(panels["loss"])
    format_accuracy(panels["accuracy"])
    panels["loss"].legend(frameon=False)
    return figure


def draw_training(axes: Axes, training: Training, column: str, name: str, color: str) -> None:
    """One side: a line for the training, a diamond for the test images after each epoch."""
    history, epochs = training
    batches = history["batch"].max()  # an epoch's last row is that of its last batch
    position = history["epoch"] - 1 + history["batch"] / batches
    axes.plot(position, history[column], "-", color=color, label=f"{name}, training", alpha=0.7)
    axes.plot(epochs["epoch"], epochs[column], "D", color=color, label=f"{name}, test")
