"""`python -m tools.predict` on MNIST's images, as they are and as people's pictures show them."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from PIL import Image

from stages.common import mnist
from stages.common.images import Images
from tests.support.outputs import DATA, MODEL
from tools import predict
from tools.prepare import Grey, prepare

Pixels = npt.NDArray[np.uint8]  # (height, width) or (height, width, 3)

pytestmark = [pytest.mark.real, pytest.mark.slow]


def predicted(folder: Path, capsys: pytest.CaptureFixture[str]) -> pd.DataFrame:
    """A row for each picture in the folder, from `python -m tools.predict --json`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["predict", "--json", f"--model={MODEL}", str(folder)])
        predict.main()
    return pd.DataFrame(json.loads(capsys.readouterr().out))


def test_the_test_images_as_png_give_the_committed_predictions(
    images: Images,
    predictions: pd.DataFrame,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for index, image in enumerate(images[..., 0]):
        Image.fromarray(image).save(tmp_path / f"{index:05}.png")
    seen = predicted(tmp_path, capsys)
    assert seen["digit"].tolist() == predictions["predicted"].tolist()
    assert seen["confidence"].tolist() == predictions["confidence"].tolist()


def coloured(image: Grey, random: np.random.Generator) -> Pixels:
    """Any ink on any ground that differ by at least 100 of 255 in red, green or blue."""
    ground, ink = random.integers(0, 256, (2, 3))
    while np.abs(ground - ink).max() < 100:
        ground, ink = random.integers(0, 256, (2, 3))
    palette = np.linspace(ground, ink, 256).round().astype(np.uint8)  # (256, 3)
    return palette.take(enlarged(image), axis=0)


def everything(image: Grey, random: np.random.Generator) -> Pixels:
    """Dark on light, shifted, lit from one side, and with noise."""
    field = np.zeros((150, 180), np.float32)
    top, left = random.integers((10, 40), endpoint=True)
    field[top : top + 140, left : left + 140] = enlarged(image)
    lit = (230 - 0.65 * field) * np.linspace(0.8, 1, 180)
    return (lit + random.normal(0, 25, lit.shape)).clip(0, 255).round().astype(np.uint8)


def enlarged(image: Grey, factor: float = 5) -> Grey:
    side = round(factor * 28)
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("change", [coloured, everything])
def test_at_least_97_percent_are_right_whatever_the_picture_is_like(
    change: Callable[[Grey, np.random.Generator], Pixels],
    images: Images,
    predictions: pd.DataFrame,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    random = np.random.default_rng(7)
    for index, image in enumerate(images[::4, ..., 0]):
        picture = Image.fromarray(change(image, random))
        picture.save(tmp_path / f"{index:04}.png", compress_level=1)
    accuracy = (predicted(tmp_path, capsys)["digit"].to_numpy() == predictions["label"][::4]).mean()
    print(f"{change.__name__}: {100 * accuracy:.2f} % of 2,500")
    assert accuracy >= 0.97


@pytest.mark.usefixtures("predictions")  # skips the test where the real data are not
def test_pairs_of_digits_are_noticed_and_single_digits_hardly_ever() -> None:
    training, _ = mnist.load(DATA, "train")
    random = np.random.default_rng(9)
    single = training[:10_000, ..., 0]
    alarms = np.mean([prepare(Image.fromarray(image)).several for image in single])
    hits = np.mean([prepare(random_pair(training, random)).several for _ in range(2000)])
    print(f"more than one digit: said of {100 * hits:.2f} % of 2,000 pairs")
    print(f"and of {100 * alarms:.2f} % of 10,000 single digits")
    assert alarms <= 0.002
    assert hits >= 0.97


def random_pair(images: Images, random: np.random.Generator) -> Image.Image:
    """Two digits side by side, the right one 0.6 to 1.2 times as large."""
    left, right = images[random.integers(len(images), size=2), ..., 0]
    pair = Image.new("L", (310, 170))
    pair.paste(Image.fromarray(enlarged(left)), (0, 15))
    pair.paste(Image.fromarray(enlarged(right, 5 * random.uniform(0.6, 1.2))), (140, 0))
    return pair
