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
from tests.support.real import MODEL
from tools import predict

pytestmark = pytest.mark.real


def predicted(*arguments: str | Path, capsys: pytest.CaptureFixture[str]) -> pd.DataFrame:
    """A row for each picture, from `python -m tools.predict --json`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["predict", "--json", f"--model={MODEL}", *map(str, arguments)])
        predict.main()
    return pd.DataFrame(json.loads(capsys.readouterr().out))


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
        pictures.picture(pixels).save(tmp_path / f"{index:04}.jpg")
    start = time.perf_counter()
    seen = predicted(tmp_path, capsys=capsys)
    with capsys.disabled():
        print(f"\n1,000 JPEG files of 280x280 pixels: {time.perf_counter() - start:.1f} s")
    assert (seen["digit"] == predictions["label"][:1000]).mean() >= 0.97


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


def all_seen(variant: str, images: mnist.Images, processes: Executor) -> mnist.Images:
    """What the network sees of the variant of each image, with the work shared."""
    parts: Sequence[mnist.Images] = np.array_split(images, 20)
    return np.concatenate(list(processes.map(partial(pictures.seen, variant), parts, range(20))))


def classified(network: Network, images: mnist.Images) -> evaluate.LogProbabilities:
    with numerics.pool(2) as pool:
        return evaluate.classify(network, images, predict.BATCH, pool)
