"""Draw what happened: the data, the training, the result and the mistakes.

Reads the MNIST folder, the first images as training saw them, history.csv, epochs.csv,
predictions.csv, and the group `plot` of params.yaml. Writes PNG pictures into a folder.

    python -m stages.plot data/MNIST/raw models/first_images.idx metrics/history.csv \\
        metrics/epochs.csv metrics/predictions.csv metrics/plots
"""

import io
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FixedLocator,
    LogLocator,
    NullFormatter,
    PercentFormatter,
    StrMethodFormatter,
)
from pydantic import Field

from stages.common import files, inputs, mnist, params, tables
from stages.common.errors import UserError, run
from stages.common.images import Images, background, mosaic
from stages.common.intervals import rate
from stages.common.tables import EpochScores, History, Prediction

# Colours that colour-blind readers can tell apart (Okabe, Ito 2008).
BLUE, RED, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#767676"


class PlotParams(params.Params):
    dpi: Annotated[int, Field(ge=50, le=300)]
    mistakes: Annotated[int, Field(ge=1, le=50)]


@inputs.guarded
def main() -> None:
    args = parse_arguments()
    p = params.load(args.params, "plot", PlotParams)
    train_images, _ = mnist.load(args.data, "train")
    test_images, _ = mnist.load(args.data, "test")
    original, augmented = read_first_images(args.first_images, train_images.shape[1:])
    history = tables.read(args.history, History)
    epochs = tables.read(args.epochs, EpochScores)
    predictions = tables.read(args.predictions, Prediction)

    set_style()
    pictures = {
        "samples": samples(train_images),
        "training_curves": training_curves(history, epochs),
        "per_digit_accuracy": per_digit_accuracy(predictions),
        "confusion_matrix": confusion_matrix(predictions),
        "predictions": first_predictions(test_images, predictions),
        "mistakes": mistakes(test_images, predictions, p.mistakes),
    }
    if (augmented != original).any():
        pictures["augmentation"] = augmentation(original, augmented)
    for name, figure in pictures.items():
        files.write(args.folder / f"{name}.png", encode_png(figure, p.dpi))
    print(f"{len(pictures)} pictures in {args.folder}")


def parse_arguments() -> Namespace:
    parser = ArgumentParser(description="Draw what happened.")
    parser.add_argument("data", type=Path, help="the folder with the MNIST files")
    parser.add_argument(
        "first_images", type=Path, help="images as in the data and as training saw them, IDX"
    )
    parser.add_argument("history", type=Path, help="loss and accuracy during training, CSV")
    parser.add_argument("epochs", type=Path, help="test scores after each epoch, CSV")
    parser.add_argument("predictions", type=Path, help="each test image's prediction, CSV")
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    return parser.parse_args()


def read_first_images(path: Path, shape: tuple[int, ...]) -> tuple[Images, Images]:
    """The first images of training, (n, height, width, channels), as in the data and as the network
    saw them; the `shape` of one is that of the data.

    Raises:
        UserError: the file is missing or is not that.
    """
    try:
        original, augmented = mnist.decode_idx(inputs.read(path)).reshape(2, -1, *shape)
    except FileNotFoundError:
        raise UserError(f"{path}: not found; make it with `dvc repro`") from None
    except ValueError as error:
        raise UserError(
            f"{path}: not pairs of images ({error}); make it again with `dvc repro`"
        ) from None
    return original, augmented


def set_style() -> None:
    """One style for all pictures, whatever the user's own matplotlibrc says."""
    matplotlib.rcdefaults()
    matplotlib.rc("axes", titlelocation="left")
    matplotlib.rc("axes.spines", top=False, right=False)


def format_loss(axes: Axes) -> None:
    """Title and logarithmic scale of a panel that shows loss."""
    axes.set(title="Average loss per image", yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def format_accuracy(axes: Axes) -> None:
    """Title and scale of a panel that shows accuracy: from 99 to 99.5 % is as far as from 98 to
    99 %."""
    axes.set(title="Average accuracy", yscale="logit")
    ticks = [0.1, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, symbol=" %"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def samples(images: Images) -> Figure:
    """Ten by five of the training images, in the order of the file."""
    return image_grid(images[:50], [""] * 50, columns=10, heading="The first 50 training images")


def augmentation(original: Images, augmented: Images) -> Figure:
    """The first images of training (n, height, width, channels) before and after their random
    transforms."""
    figure = Figure(figsize=(9, 4.9), layout="constrained")
    figure.suptitle(f"The first {len(original)} images of training")
    pictures = (original, "in the data"), (augmented, "as the network saw them")
    for axes, (images, title) in zip(figure.subplots(1, 2), pictures, strict=True):
        axes.imshow(mosaic(images, columns=10), cmap="gray_r", vmin=0, vmax=255)
        axes.set_title(title)
        axes.set_axis_off()
    return figure


def training_curves(history: pd.DataFrame, epochs: pd.DataFrame) -> Figure:
    """Loss and accuracy over the steps of training, and on the test and the validation images
    after each epoch; below them the learning rate, if it varied."""
    varied = history["lr"].nunique() > 1
    figure = Figure(figsize=(9, 5.2 if varied else 3.4), layout="constrained")
    panels = figure.subplot_mosaic(
        [["loss", "accuracy"], ["lr", "lr"]] if varied else [["loss", "accuracy"]],
        height_ratios=[2, 1] if varied else None,
    )
    ends = history.groupby("epoch")["step"].max()  # the last step of each epoch
    for column, axes in panels.items():
        draw_training(axes, history, column, ends)
    for column in ("loss", "accuracy"):
        draw_scores(panels[column], epochs, column, ends)
    format_loss(panels["loss"])
    format_accuracy(panels["accuracy"])
    panels["loss"].legend(frameon=False)
    if varied:
        panels["lr"].set_title("Learning rate")
    return figure


def draw_training(axes: Axes, history: pd.DataFrame, column: str, ends: "pd.Series[int]") -> None:
    """A line for one column of the history, and a vertical line where an epoch ends."""
    label = "training, mean since the last point"
    axes.plot(history["step"], history[column], ".-", color=BLUE, label=label)
    for step in ends:
        axes.axvline(step, color=GREY, linewidth=0.5)
    axes.set_xlabel("Step (a grey line ends an epoch)")


def draw_scores(axes: Axes, epochs: pd.DataFrame, column: str, ends: "pd.Series[int]") -> None:
    """A mark for each epoch's score on the validation images, if there are any, and on the test
    images."""
    for prefix, name, marker, color in (
        ("validation_", "validation", "s", GREEN),
        ("", "test", "D", RED),
    ):
        values = epochs[prefix + column]
        if values.notna().any():
            label = f"{name}, after the epoch"
            axes.plot(ends[epochs["epoch"]], values, marker, color=color, label=label)


def per_digit_accuracy(predictions: pd.DataFrame) -> Figure:
    """Each digit's test accuracy with its 95 % interval (Wilson)."""
    correct = predictions["label"] == predictions["predicted"]
    table = correct.groupby(predictions["label"]).agg(["sum", "count"])  # a row a digit
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots()
    for digit, right, n in zip(table.index, table["sum"], table["count"], strict=True):
        row = rate(right, n)
        axes.plot([row.low, row.high], [digit, digit], color=BLUE, linewidth=2)
        axes.plot(row.accuracy, digit, "o", color=BLUE)
        axes.annotate(
            f"{100 * row.accuracy:.1f} %  ({right:,} of {n:,})",
            (1.01, digit), xycoords=("axes fraction", "data"), verticalalignment="center",
        )  # fmt: skip
    axes.axvline(correct.mean(), color=RED, linestyle="--", linewidth=1)
    axes.set(
        title="Test accuracy of each digit with 95 % interval; dashed: overall",
        xlabel="Correct, of all test images of the digit",
        ylabel="Digit",
        yticks=table.index,
    )
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=1, symbol=" %"))
    return figure


def confusion_matrix(predictions: pd.DataFrame) -> Figure:
    """Counts of label against prediction. Only the mistakes are coloured, on a logarithmic scale
    that depends on the test images alone: so the pictures of two networks can be compared."""
    classes = tables.count_classes(predictions)
    counts = tables.count_confusions(predictions, classes)
    wrong = np.where(np.eye(classes, dtype=bool), 0, counts)
    most = counts.sum(axis=1).max()  # test images of one digit
    scale = LogNorm(vmin=0.5, vmax=4 * most)  # not to the darkest: the black digits stay readable
    figure = Figure(figsize=(6.5, 6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.ma.masked_equal(wrong, 0), cmap="Oranges", norm=scale)
    for (label, predicted), count in np.ndenumerate(counts):
        weight, color = (
            ("bold", BLUE) if label == predicted else ("normal", "black" if count else "#BBBBBB")
        )
        axes.text(
            predicted, label, str(count), ha="center", va="center", weight=weight, color=color
        )
    axes.set(
        title=f"Test images by label and prediction: {wrong.sum():,} mistakes of {counts.sum():,}",
        xlabel="Predicted digit",
        ylabel="True digit",
        xticks=range(classes),
        yticks=range(classes),
    )
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure


def first_predictions(images: Images, predictions: pd.DataFrame) -> Figure:
    """Ten test images with their true and their predicted labels."""
    first = predictions.head(10)
    titles = [f"true {row.label}\npredicted {row.predicted}" for row in first.itertuples()]
    return image_grid(
        images[first["index"]], titles, columns=10, heading="The first ten test images"
    )


def mistakes(images: Images, predictions: pd.DataFrame, most: int) -> Figure:
    """The wrong predictions of which the network was most certain."""
    wrong = predictions[predictions["label"] != predictions["predicted"]]
    worst = wrong.sort_values(["confidence", "index"], ascending=[False, True]).head(most)
    columns = worst["label"], worst["predicted"], 100 * worst["confidence"]
    titles = [
        f"{label} taken for {predicted}\n{percent:.1f} % sure"
        for label, predicted, percent in zip(*columns, strict=True)
    ]
    heading = f"The {len(worst)} most confident of {len(wrong):,} mistakes in {len(predictions):,}"
    return image_grid(images[worst["index"]], titles, columns=10, heading=heading)


def image_grid(images: Images, titles: Sequence[str], columns: int, heading: str) -> Figure:
    """Images (n, height, width, channels) in rows, each under its title. Sizes are in the images'
    pixels, so that with 100 dots per inch each of them is exactly 3x3 dots."""
    margin, inch = 1, 100 / 3
    top = 12 if any(titles) else margin  # above an image, for two lines of text
    height, width, channels = images.shape[1:]
    tile = width + 2 * margin, top + height + margin  # width, height
    edges = (0, 0), (top, margin), (margin, margin), (0, 0)
    tiles = np.pad(images, edges, constant_values=background(channels))
    head = 15
    rows = max(1, -(-len(images) // columns))
    width, height = columns * tile[0], rows * tile[1]
    figure = Figure(figsize=(width / inch, (head + height) / inch))
    figure.suptitle(heading, y=1 - head / 2 / (head + height), va="center")
    axes = figure.add_axes((0, 0, 1, height / (head + height)))
    axes.set_axis_off()
    picture = mosaic(tiles, columns) if len(images) else np.zeros((height, width, 1), np.uint8)
    axes.imshow(picture, cmap="gray_r", vmin=0, vmax=255, interpolation="nearest", aspect="auto")
    for number, title in enumerate(titles):
        row, column = divmod(number, columns)
        x, y = column * tile[0] + tile[0] / 2, row * tile[1] + top - 1
        axes.text(x, y, title, fontsize=9, ha="center", va="bottom")
    return figure


def encode_png(figure: Figure, dpi: int) -> bytes:
    """The figure as PNG, without the version of matplotlib in it: equal pictures, equal bytes."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=dpi, metadata={"Software": None})
    return picture.getvalue()


if __name__ == "__main__":
    run(main)
