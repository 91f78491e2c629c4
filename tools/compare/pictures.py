"""What changed, as pictures: the digits that broke, those that were fixed, the training."""

from pathlib import Path
from typing import Literal

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FixedLocator,
    LogLocator,
    NullFormatter,
    PercentFormatter,
    StrMethodFormatter,
)

from stages.common import files, mnist
from stages.common.errors import UserError
from stages.plot import BLUE, RED, encode_png, image_grid
from tools.compare.evidence import DATA, Evidence, Table, read_table

HISTORY, EPOCHS = "metrics/history.csv", "metrics/epochs.csv"
HISTORY_COLUMNS = {"epoch": int, "batch": int, "loss": float, "accuracy": float}
EPOCHS_COLUMNS = {"epoch": int, "loss": float, "accuracy": float}
MOST = 50  # digits in a picture
DPI = 100

Mask = npt.NDArray[np.bool_]  # (n,), which of the test images


def write(folder: Path, base: Evidence, head: Evidence) -> list[str]:
    """Draw the pictures into a folder; their names.

    Raises:
        UserError: MNIST is not in this folder or not what the revisions were scored on, or a
            revision lacks its history.
    """
    images, labels = mnist.load(Path(DATA), "test")
    if not np.array_equal(labels, base.predictions["label"]):
        raise UserError(f"{DATA}: not the images that {base.revision} was scored on")
    runs = [
        (
            read_table(side.revision, HISTORY, HISTORY_COLUMNS),
            read_table(side.revision, EPOCHS, EPOCHS_COLUMNS),
        )
        for side in (base, head)
    ]
    before, after = base.predictions, head.predictions
    was_right, is_right = before["predicted"] == labels, after["predicted"] == labels

    matplotlib.rcdefaults()  # not the user's matplotlibrc
    matplotlib.rc("axes", titlelocation="left")
    matplotlib.rc("axes.spines", top=False, right=False)
    pictures = {
        "broken.png": digits(images, before, after, was_right & ~is_right, "head"),
        "fixed.png": digits(images, before, after, ~was_right & is_right, "base"),
        "training_curves.png": curves(runs, f"{base.revision} → {head.revision}"),
    }
    for name, figure in pictures.items():
        files.write(folder / name, encode_png(figure, DPI))
    return list(pictures)


def digits(
    images: mnist.Images,  # (n, 28, 28)
    base: Table,
    head: Table,
    chosen: Mask,
    wrong: Literal["base", "head"],
) -> Figure:
    """The chosen images, each with its true label and both predictions. One side is wrong about
    all of them: its most confident mistakes come first."""
    (indices,) = np.nonzero(chosen)
    confidence = (base if wrong == "base" else head)["confidence"][indices]
    shown = indices[np.argsort(-confidence, kind="stable")][:MOST]
    titles = [
        f"true {label}\n{before} → {after}"
        for label, before, after in zip(
            base["label"][shown], base["predicted"][shown], head["predicted"][shown], strict=True
        )
    ]
    what = "fixed" if wrong == "base" else "broken"
    heading = f"{len(indices):,} of {len(images):,} test images {what} (base → head)"
    if len(shown) < len(indices):
        heading += f", here the {len(shown)} of which {wrong} was surest"
    return image_grid(images[shown], titles, columns=10, heading=heading)


def curves(runs: list[tuple[Table, Table]], heading: str) -> Figure:
    """Loss and accuracy in training and on the test images, over epochs, so that runs with other
    batch sizes can be compared. `runs` holds history and epochs, before and after."""
    figure = Figure(figsize=(9, 3.7), layout="constrained")
    figure.suptitle(heading, parse_math=False)
    loss, accuracy = figure.subplots(1, 2)
    for axes, column in ((loss, "loss"), (accuracy, "accuracy")):
        for (history, epochs), name, color in zip(runs, ("base", "head"), (RED, BLUE), strict=True):
            draw(axes, history, epochs, column, name, color)
        axes.set_xlabel("Epoch")
    loss.set(title="Average loss per image", yscale="log")
    loss.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    loss.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    loss.yaxis.set_minor_formatter(NullFormatter())
    loss.legend(frameon=False)
    accuracy.set(title="Average accuracy", yscale="logit")
    accuracy.yaxis.set_major_locator(
        FixedLocator([0.1, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999])
    )
    accuracy.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    accuracy.yaxis.set_minor_formatter(NullFormatter())
    return figure


def draw(axes: Axes, history: Table, epochs: Table, column: str, name: str, color: str) -> None:
    """One run: a line for the training, a diamond for the test images after each epoch."""
    batches = history["batch"].max()  # an epoch's last row is that of its last batch
    position = history["epoch"] - 1 + history["batch"] / batches
    axes.plot(position, history[column], "-", color=color, label=f"{name}, training", alpha=0.7)
    axes.plot(epochs["epoch"], epochs[column], "D", color=color, label=f"{name}, test")
