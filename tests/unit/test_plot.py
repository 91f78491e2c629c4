import io
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from stages import plot
from stages.common import mnist
from stages.common.errors import UserError
from stages.common.images import mosaic
from stages.common.tables import EpochScores, History, Prediction
from tests.support import image_grid, runner, tiny

LABELS, PREDICTED = [0, 0, 1, 1, 1, 9], [0, 1, 1, 1, 2, 1]
CONFIDENCES = [0.9, 0.7, 0.9, 0.9, 0.8, 0.8]
PREDICTIONS = pd.DataFrame(map(Prediction, range(6), LABELS, PREDICTED, CONFIDENCES))
IMAGES, _ = tiny.digits(6, seed=3)
HISTORY = pd.DataFrame(
    [
        History(epoch=1, batch=2, step=2, lr=0.1, loss=2.0, accuracy=0.2),
        History(epoch=1, batch=3, step=3, lr=0.1, loss=1.0, accuracy=0.5),
        History(epoch=2, batch=3, step=6, lr=0.1, loss=0.4, accuracy=0.9),
    ]
)
SCORES = pd.DataFrame(
    [EpochScores(1, 0.9, 0.6, math.nan, math.nan), EpochScores(2, 0.3, 0.95, math.nan, math.nan)]
)


@pytest.fixture(scope="module")
def drawn(evaluated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the workspace, after the stage plot, only for reading."""
    folder = shutil.copytree(evaluated, tmp_path_factory.mktemp("drawn") / "workspace")
    runner.run(folder, "plot")
    return folder


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]


def test_main_writes_small_pngs(drawn: Path) -> None:
    for path in (drawn / "metrics/plots").iterdir():
        with Image.open(path) as picture:
            picture.load()
            assert picture.format == "PNG"
            assert "Software" not in picture.info  # it would be matplotlib's version
            assert len(picture.getcolors(2**24) or []) > 10  # not blank
        assert path.stat().st_size < 150_000


def test_the_bytes_depend_neither_on_the_run_nor_on_the_users_matplotlibrc(
    drawn: Path, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = copied / "matplotlibrc"
    settings.write_text("font.size: 20\naxes.facecolor: black\nsavefig.bbox: tight\n")
    monkeypatch.setenv("MATPLOTLIBRC", str(settings))
    assert runner.spawn(copied, "plot").stdout == f"6 pictures in {Path('metrics/plots')}\n"
    assert runner.digests(copied / "metrics") == runner.digests(drawn / "metrics")


def test_download_and_plot_start_without_loading_torch() -> None:
    code = "import sys, stages.download, stages.plot; sys.exit('torch' in sys.modules)"
    assert runner.python("-c", code).returncode == 0


def test_the_confusion_matrix_counts_label_against_prediction() -> None:
    figure = plot.confusion_matrix(PREDICTIONS)
    (axes,) = figure.axes
    counts = {text.get_position(): text.get_text() for text in axes.texts}  # (predicted, label)
    assert len(counts) == 100
    assert {cell: count for cell, count in counts.items() if count != "0"} == {
        (0, 0): "1", (1, 0): "1", (1, 1): "2", (2, 1): "1", (1, 9): "1",
    }  # fmt: skip
    assert "Test images by label and prediction: 3 mistakes of 6" in texts(figure)


def test_each_digits_accuracy_has_its_counts_and_interval() -> None:
    figure = plot.per_digit_accuracy(PREDICTIONS)
    labels = {text for text in texts(figure) if " of " in text}
    assert labels >= {"50.0 %  (1 of 2)", "66.7 %  (2 of 3)", "0.0 %  (0 of 1)"}
    _, _, interval, *_ = figure.axes[0].lines  # of digit 1, after interval and point of digit 0
    ends = np.asarray(interval.get_xdata(), float)
    assert ends.tolist() == pytest.approx([0.20766, 0.93851], abs=1e-5)  # for 2 of 3


def test_the_most_confident_mistakes_come_first_and_ties_in_the_order_of_the_images() -> None:
    figure = plot.mistakes(IMAGES, PREDICTIONS, most=2)
    assert [text for text in texts(figure) if text] == [
        "1 taken for 2\n80.0 % sure",
        "9 taken for 1\n80.0 % sure",
        "The 2 most confident of 3 mistakes in 6",
    ]
    np.testing.assert_array_equal(image_grid.images(figure), IMAGES[[4, 5], ..., 0])


def test_the_colours_of_the_confusion_matrix_are_the_same_for_another_network() -> None:
    other = PREDICTIONS.assign(predicted=(PREDICTIONS["label"] + 1) % 10)
    scales = [plot.confusion_matrix(t).axes[0].images[0].get_clim() for t in (PREDICTIONS, other)]
    assert scales[0] == scales[1]


def lines(axes: Axes) -> dict[str, object]:
    """The points of each line that the legend names, by its label."""
    named = {str(line.get_label()): line.get_xydata() for line in axes.lines}
    return {label: points for label, points in named.items() if not label.startswith("_")}


def test_the_curves_put_the_scores_at_the_last_step_of_their_epoch() -> None:
    figure = plot.training_curves(HISTORY, SCORES)
    for axes, column in zip(figure.axes, ("loss", "accuracy"), strict=True):
        training, test = lines(axes).values()  # and no validation
        np.testing.assert_array_equal(training, HISTORY[["step", column]])
        np.testing.assert_array_equal(test, [[3, SCORES[column][0]], [6, SCORES[column][1]]])


def test_the_curves_show_validation_scores_and_a_learning_rate_that_varies() -> None:
    history = HISTORY.assign(lr=[0.1, 0.2, 0.1])
    scores = SCORES.assign(validation_loss=[0.8, 0.2], validation_accuracy=[0.5, 0.75])
    _, accuracy, lr = plot.training_curves(history, scores).axes
    validation = lines(accuracy)["validation, after the epoch"]
    np.testing.assert_array_equal(validation, [[3, 0.5], [6, 0.75]])
    np.testing.assert_array_equal(lr.lines[0].get_xydata(), history[["step", "lr"]])


def test_augmented_images_are_drawn_beside_the_original_ones() -> None:
    before, after = plot.augmentation(IMAGES[:3], IMAGES[3:]).axes
    for axes, images in ((before, IMAGES[:3]), (after, IMAGES[3:])):
        shown = np.asarray(axes.images[0].get_array())
        np.testing.assert_array_equal(shown, mosaic(images, columns=10)[..., 0])


@pytest.mark.filterwarnings("error")
def test_a_network_without_mistakes_can_be_drawn_without_a_warning() -> None:
    right = PREDICTIONS.assign(predicted=PREDICTIONS["label"])
    for figure in (
        plot.confusion_matrix(right),
        plot.mistakes(IMAGES, right, most=20),
        plot.per_digit_accuracy(right),
    ):
        Image.open(io.BytesIO(plot.encode_png(figure, dpi=50))).verify()


@pytest.mark.parametrize(
    "content", [None, b"", mnist.encode_idx(np.zeros((3, 1, 28, 28), np.uint8))]
)
def test_first_images_that_cannot_be_read_are_one_line(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "first_images.idx"
    if content is not None:
        path.write_bytes(content)
    fault = "not found" if content is None else "not pairs of images"
    with pytest.raises(UserError, match=rf"\A{re.escape(f'{path}: {fault}')}.*\Z"):
        plot.read_first_images(path, (28, 28, 1))
