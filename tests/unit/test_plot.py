import io
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from stages import plot
from stages.common import mnist
from stages.common.errors import UserError
from tests.support import grids, runner, tiny

NAMES = [
    "confusion_matrix", "mistakes", "per_digit_accuracy", "predictions", "samples",
    "training_curves",
]  # fmt: skip
PREDICTIONS = pd.DataFrame(
    {
        "index": range(6),
        "label": [0, 0, 1, 1, 1, 9],
        "predicted": [0, 1, 1, 1, 2, 1],
        "confidence": [0.9, 0.7, 0.9, 0.9, 0.8, 0.8],
    }
)
IMAGES, _ = tiny.digits(6, seed=3)


@pytest.fixture(scope="module")
def drawn(evaluated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the workspace, after the stage plot, only for reading."""
    folder = shutil.copytree(evaluated, tmp_path_factory.mktemp("drawn") / "workspace")
    runner.run(folder, "plot")
    return folder


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]


@pytest.mark.parametrize("name", NAMES)
def test_main_writes_small_pngs(drawn: Path, name: str) -> None:
    path = drawn / "metrics/plots" / f"{name}.png"
    with Image.open(path) as picture:
        picture.load()
        assert picture.format == "PNG"
        assert "Software" not in picture.info  # it would be matplotlib's version
        assert len(picture.getcolors(2**24) or []) > 10  # not blank
    assert path.stat().st_size < 150_000


def test_main_writes_nothing_else(drawn: Path) -> None:
    assert sorted(path.stem for path in (drawn / "metrics/plots").iterdir()) == NAMES


def test_the_bytes_depend_neither_on_the_run_nor_on_the_users_matplotlibrc(
    drawn: Path, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = copied / "matplotlibrc"
    settings.write_text("font.size: 20\naxes.facecolor: black\nsavefig.bbox: tight\n")
    monkeypatch.setenv("MATPLOTLIBRC", str(settings))
    shutil.rmtree(copied / "metrics/plots", ignore_errors=True)
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
    assert labels >= {"50.0%  (1 of 2)", "66.7%  (2 of 3)", "0.0%  (0 of 1)"}
    _, _, interval, *_ = figure.axes[0].lines  # of digit 1, after interval and point of digit 0
    ends = np.asarray(interval.get_xdata(), float)
    assert ends.tolist() == pytest.approx([0.20766, 0.93851], abs=1e-5)  # for 2 of 3


def test_the_most_confident_mistakes_come_first_and_ties_in_the_order_of_the_images() -> None:
    figure = plot.mistakes(IMAGES, PREDICTIONS, most=2)
    assert [text for text in texts(figure) if text] == [
        "1 taken for 2\n80.0% sure",
        "9 taken for 1\n80.0% sure",
        "The 2 most confident of 3 mistakes in 6",
    ]
    np.testing.assert_array_equal(grids.images(figure), IMAGES[[4, 5]])


def test_the_first_predictions_show_both_labels() -> None:
    assert "correct 0\npredicted 1" in texts(plot.first_predictions(IMAGES, PREDICTIONS))


def test_the_curves_put_the_test_scores_at_the_last_step_of_their_epoch() -> None:
    history = pd.DataFrame(
        {
            "epoch": [1, 1, 2, 2],
            "step": [2, 3, 5, 6],
            "lr": [0.1, 0.1, 0.1, 0.1],
            "loss": [2.0, 1.0, 0.5, 0.4],
            "accuracy": [0.2, 0.5, 0.8, 0.9],
        }
    )
    epochs = pd.DataFrame(
        {"epoch": [1, 2], "loss": [0.9, 0.3], "accuracy": [0.6, 0.95]}
        | {"validation_loss": [np.nan, np.nan], "validation_accuracy": [np.nan, np.nan]}
    )
    for axes, column in zip(
        plot.training_curves(history, epochs).axes, ("loss", "accuracy"), strict=True
    ):
        lines = {str(line.get_label()): line.get_xydata() for line in axes.lines}
        np.testing.assert_array_equal(
            lines["training, mean since the last point"], history[["step", column]]
        )
        np.testing.assert_array_equal(
            lines["test, after the epoch"], [[3, epochs[column][0]], [6, epochs[column][1]]]
        )
        assert "validation, after the epoch" not in lines


def test_the_curves_show_validation_scores_and_a_learning_rate_that_varies() -> None:
    history = pd.DataFrame(
        {
            "epoch": [1, 2],
            "step": [3, 6],
            "lr": [0.2, 0.1],
            "loss": [2.0, 1.0],
            "accuracy": [0.2, 0.5],
        }
    )
    epochs = pd.DataFrame(
        {"epoch": [1, 2], "loss": [0.9, 0.3], "accuracy": [0.6, 0.95]}
        | {"validation_loss": [0.8, 0.2], "validation_accuracy": [0.5, 0.75]}
    )
    loss, accuracy, lr = plot.training_curves(history, epochs).axes
    for axes, scores in ((loss, [0.8, 0.2]), (accuracy, [0.5, 0.75])):
        (shown,) = [
            line for line in axes.lines if line.get_label() == "validation, after the epoch"
        ]
        np.testing.assert_array_equal(shown.get_xydata(), [[3, scores[0]], [6, scores[1]]])
    assert lr.get_title(loc="left") == "Learning rate"
    np.testing.assert_array_equal(lr.lines[0].get_xydata(), [[3, 0.2], [6, 0.1]])


def test_augmented_images_are_drawn_beside_the_original_ones() -> None:
    before, after = plot.augmentation(IMAGES[:3], IMAGES[3:]).axes
    for axes, images in ((before, IMAGES[:3]), (after, IMAGES[3:])):
        shown = np.asarray(axes.images[0].get_array())
        np.testing.assert_array_equal(shown, mnist.mosaic(images, columns=10))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "not found; make it with `dvc repro`"),
        (b"", "not pairs of images (empty); make it again with `dvc repro`"),
        (mnist.encode_idx(np.zeros((3, 1, 28, 28), np.uint8)), "not pairs of images (too many"),
    ],
)
def test_first_images_that_cannot_be_read_are_one_line(
    copied: Path, content: bytes | None, message: str
) -> None:
    path = Path("models/first_images.idx")
    (copied / path).unlink()
    if content is not None:
        (copied / path).write_bytes(content)
    with pytest.raises(UserError, match=f"^{re.escape(f'{path}: {message}')}"):
        runner.run(copied, "plot")


def test_a_network_without_mistakes_can_be_drawn() -> None:
    right = PREDICTIONS.assign(predicted=PREDICTIONS["label"])
    figures = [plot.confusion_matrix(right), plot.mistakes(IMAGES, right, most=20)]
    for figure in (*figures, plot.per_digit_accuracy(right)):
        Image.open(io.BytesIO(plot.encode_png(figure, dpi=50))).verify()
    assert "Test images by label and prediction: 0 mistakes of 6" in texts(figures[0])
    assert "The 0 most confident of 0 mistakes in 6" in texts(figures[1])


@pytest.mark.parametrize("table", ["history", "epochs", "predictions"])
def test_a_missing_table_is_named(copied: Path, table: str) -> None:
    path = Path(f"metrics/{table}.csv")
    (copied / path).unlink()
    with pytest.raises(UserError, match=f"^{re.escape(str(path))}: not found; make it"):
        runner.run(copied, "plot")


@pytest.mark.parametrize("table", ["history", "epochs", "predictions"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\0",
        b"a,b\n1,2\n",
        b"a,b\n1,2,3\n4\n1,2,3,4\n",
        b"epoch,step,lr,loss,accuracy,validation_loss,validation_accuracy,index,label,predicted,confidence\nx,x,x,x,x,x,x,x,x,x,x\n",
        b"epoch,step,lr,loss,accuracy,validation_loss,validation_accuracy,index,label,predicted,confidence\n,,,,,,,,,,\n",
    ],
)
def test_a_broken_table_is_one_line_that_names_it(copied: Path, table: str, content: bytes) -> None:
    (copied / f"metrics/{table}.csv").write_bytes(content)
    with pytest.raises(UserError) as error:
        runner.run(copied, "plot")
    assert str(error.value).startswith(f"{Path('metrics', table)}.csv: not the expected table (")
    assert str(error.value).endswith("); make it again with `dvc repro`")
    assert "\n" not in str(error.value)
