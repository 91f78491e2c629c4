"""What the pictures of tools.compare show."""

import numpy as np
import pandas as pd

from stages.common.tables import Prediction
from stages.plot import encode_png
from tests.support import image_grid, tiny
from tools.compare import pictures


def predictions(predicted: list[int], confidence: list[float]) -> pd.DataFrame:
    pairs = zip(predicted, confidence, strict=True)
    return pd.DataFrame([Prediction(index, 7, *pair) for index, pair in enumerate(pairs)])


def test_what_broke_and_what_was_fixed_by_the_confidence_of_the_side_that_is_wrong() -> None:
    images, _ = tiny.digits(4, seed=3)
    base = predictions([7, 1, 7, 2], [0.5, 0.6, 0.7, 0.8])
    head = predictions([1, 7, 3, 2], [0.6, 0.9, 0.9, 0.8])
    was_right, is_right = (np.array(side["predicted"] == 7) for side in (base, head))

    broken = pictures.digits(images, base, head, was_right & ~is_right, "head")
    assert broken.get_suptitle() == "2 of 4 test images broken (base → head)"
    assert image_grid.titles(broken) == ["true 7\n7 → 3", "true 7\n7 → 1"]
    np.testing.assert_array_equal(image_grid.images(broken), images[[2, 0], ..., 0])

    fixed = pictures.digits(images, base, head, ~was_right & is_right, "base")
    assert fixed.get_suptitle() == "1 of 4 test images fixed (base → head)"
    assert image_grid.titles(fixed) == ["true 7\n1 → 7"]


def test_of_many_only_the_surest_mistakes_are_shown() -> None:
    n = pictures.MAX_SHOWN + 1
    images, _ = tiny.digits(n, seed=3)
    base, head = predictions([7] * n, [0.5] * n), predictions([1] * n, [0.5] * (n - 1) + [0.9])
    figure = pictures.digits(images, base, head, np.ones(n, bool), "head")
    assert figure.get_suptitle().endswith("here the 50 of which head was surest")
    np.testing.assert_array_equal(image_grid.images(figure)[0], images[-1, ..., 0])


def test_runs_with_other_batch_sizes_are_drawn_over_the_same_epochs() -> None:
    epochs = pd.DataFrame({"epoch": [1, 2], "loss": [0.9, 0.3], "accuracy": [0.6, 0.9]})
    scores = {"epoch": [1, 1, 2, 2], "loss": [2, 1, 0.5, 0.4], "accuracy": [0.2, 0.5, 0.8, 0.9]}
    small, large = (pd.DataFrame(scores | {"batch": n}) for n in ([2, 4, 2, 4], [1, 2, 1, 2]))
    figure = pictures.curves((small, epochs), (large, epochs), "a_$x$ → b")
    assert figure.get_suptitle() == "a_$x$ → b"
    for axes, column in zip(figure.axes, ("loss", "accuracy"), strict=True):
        base, _, head, test = (line.get_xydata() for line in axes.lines)
        for training in (base, head):
            np.testing.assert_array_equal(
                training, np.transpose([[0.5, 1, 1.5, 2], scores[column]])
            )
        np.testing.assert_array_equal(test, epochs[["epoch", column]])
    encode_png(figure, dpi=50)  # the name of a branch is not a formula
