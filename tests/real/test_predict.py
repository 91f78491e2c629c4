import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages import evaluate
from stages.common import mnist
from stages.model import numerics
from stages.model.network import Network
from tests.support import pictures
from tests.support.outputs import DATA, MODEL
from tools import predict
from tools.prepare import Grey, prepare

pytestmark = pytest.mark.real


def predicted(*arguments: str | Path, capsys: pytest.CaptureFixture[str]) -> pd.DataFrame:
    """A row for each picture, from `python -m tools.predict --json`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["predict", "--json", f"--model={MODEL}", *map(str, arguments)])
        predict.main()
    return pd.DataFrame(json.loads(capsys.readouterr().out))


@pytest.mark.slow
def test_the_test_images_as_png_give_the_committed_predictions(
    images: mnist.Images,
    predictions: pd.DataFrame,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for index, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{index:05}.png")
    start = time.perf_counter()
    seen = predicted(tmp_path, capsys=capsys)
    with capsys.disabled():
        print(f"\n10,000 files of 28x28 pixels: {time.perf_counter() - start:.1f} s")
    assert seen["digit"].tolist() == predictions["predicted"].tolist()
    assert seen["confidence"].tolist() == predictions["confidence"].tolist()


def test_1000_files_are_classified_in_seconds(
    images: mnist.Images,
    predictions: pd.DataFrame,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    random = np.random.default_rng(7)
    for index, image in enumerate(images[:1000]):
        pixels = pictures.coloured(image, random)
        Image.fromarray(pixels).save(tmp_path / f"{index:04}.jpg")
    start = time.perf_counter()
    seen = predicted(tmp_path, capsys=capsys)
    with capsys.disabled():
        print(f"\n1,000 JPEG files of 140x140 pixels: {time.perf_counter() - start:.1f} s")
    assert (seen["digit"] == predictions["label"][:1000]).mean() >= 0.97


@pytest.mark.slow
def test_at_least_97_percent_are_right_whatever_the_picture_is_like(
    images: mnist.Images,
    predictions: pd.DataFrame,
    network: Network,
    capsys: pytest.CaptureFixture[str],
) -> None:
    labels = predictions["label"].to_numpy()
    lines, accuracies = [], []
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as processes:
        for variant in pictures.VARIANTS:
            prepared = all_seen(variant, images, processes)
            accuracies.append(evaluate.accuracy(classified(network, prepared), labels))
            lines.append(f"{variant:28} {100 * accuracies[-1]:6.2f} %")
    as_they_are = (predictions["predicted"] == labels).mean()
    with capsys.disabled():
        print(f"\n{'the 10,000 test images':28} {100 * as_they_are:6.2f} %", *lines, sep="\n")
    assert min(accuracies) >= 0.97


@pytest.mark.slow
@pytest.mark.usefixtures("predictions")  # skips the test where the real data are not
def test_pairs_of_digits_are_noticed_and_single_digits_hardly_ever(
    capsys: pytest.CaptureFixture[str],
) -> None:
    training, _ = mnist.load(DATA, "train")
    alarms = np.mean([is_several(image) for image in training[:10_000]])
    random = np.random.default_rng(9)
    hits = np.mean([is_several(random_pair(training, random)) for _ in range(2000)])
    with capsys.disabled():
        print(f"\nmore than one digit: said of {100 * hits:.2f} % of 2,000 pairs")
        print(f"and of {100 * alarms:.2f} % of 10,000 single digits")
    assert alarms <= 0.002
    assert hits >= 0.97


def random_pair(images: mnist.Images, random: np.random.Generator) -> Grey:
    """Two digits side by side, the right one 0.6 to 1.2 times as large, with a gap of a tenth of a
    digit's height up to twice the height."""
    left, right = images[random.integers(len(images), size=2)]
    right = pictures.resized(right, 5 * random.uniform(0.6, 1.2))
    return pictures.side_by_side(pictures.resized(left, 5), right, int(random.integers(10, 200)))


def is_several(pixels: Grey) -> bool:
    return prepare(Image.fromarray(pixels)).several


def all_seen(variant: str, images: mnist.Images, processes: Executor) -> mnist.Images:
    """What the network sees of the variant of each image, with the work shared."""
    parts: Sequence[mnist.Images] = np.array_split(images, 20)
    return np.concatenate(list(processes.map(partial(pictures.seen, variant), parts, range(20))))


def classified(network: Network, images: mnist.Images) -> evaluate.LogProbabilities:
    with numerics.pool(2) as pool:
        return evaluate.classify(network, images, predict.BATCH, pool)
