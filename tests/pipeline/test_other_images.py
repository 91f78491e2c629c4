"""Colour, another size, twelve classes: ONNX, predict and the page follow params.yaml."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import expect

from stages.common import files, mnist
from stages.common.images import Images, Labels
from tests.support import browser
from tests.support.project import Project
from tests.support.runner import DATA
from tools.yaml_files import set_values

IMAGES = {"height": 32, "width": 40, "channels": 3, "classes": 12}


def blocks(n: int, seed: int) -> tuple[Images, Labels]:
    """Images (n, 32, 40, 3) and labels (n,): a red, green or blue block in a corner, on noise."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 12, n, dtype=np.uint8)
    images = random.integers(0, 100, (n, 32, 40, 3), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        corner, colour = divmod(int(label), 3)
        row, column = divmod(corner, 2)
        image[4 + 16 * row : 12 + 16 * row, 4 + 20 * column : 16 + 20 * column, colour] += 120
    return images, labels


def write(folder: Path) -> dict[str, str]:
    """The four files; their digests."""
    digests = {}
    for split, n, seed in (("train", 600, 1), ("test", 200, 2)):
        images, labels = blocks(n, seed)
        contents = mnist.encode_images(images), mnist.encode_idx(labels)
        for name, content in zip(mnist.FILES[split], contents, strict=True):
            (folder / name).write_bytes(content)
            digests[name] = files.sha256(content)
    return digests


@pytest.mark.slow
def test_images_in_colour(project: Project) -> None:
    params: dict[str, object] = {f"images.{key}": value for key, value in IMAGES.items()}
    params |= {"images.mean": [0.2, 0.21, 0.22], "images.std": [0.15, 0.16, 0.17]}
    params |= {"download.sha256": write(project.folder.parent / "tiny"), "train.lr": 0.01}
    set_values(project.folder / "params.yaml", params)
    assert project.repro() == ["download", "train", "evaluate", "plot"]
    project("git", "commit", "--quiet", "--all", "--message=colour")
    predictions = pd.read_csv(project.folder / "metrics/predictions.csv")
    images = mnist.decode_idx((project.folder / DATA / mnist.FILES["test"][0]).read_bytes())
    confidence = pytest.approx(predictions["confidence"].to_numpy(), abs=1e-5)

    said = project("python", "-m", "tools.export", "model.onnx")
    assert said.endswith("image (N, 3, 32, 40) to log_probabilities (N, 12)\n")
    session = onnxruntime.InferenceSession(project.folder / "model.onnx")
    (seen,) = session.run(None, {"image": images.transpose(0, 3, 1, 2).astype(np.float32) / 255})
    assert np.exp(seen.max(axis=1)) == confidence

    Image.fromarray(images[5]).save(project.folder / "five.png")
    (guess,) = json.loads(project("python", "-m", "tools.predict", "--json", "five.png"))
    assert guess["digit"] == predictions["predicted"][5]
    assert guess["confidence"] == pytest.approx(predictions["confidence"][5], abs=1e-6)

    project("python", "-m", "tools.page")
    if not browser.CHROMIUM:
        return
    path = project.folder / "page/index.html"
    with browser.chromium() as chromium, browser.opened(chromium, path, width=360) as page:
        probabilities = browser.classify(page, images)
        assert (probabilities.argmax(axis=1) == predictions["predicted"]).all()
        assert probabilities.max(axis=1) == confidence
        expect(page.locator("#pad")).to_be_hidden()
        assert page.locator("#bars li").count() == 12
        page.locator("[data-label='11'][data-predicted='11']").click()
        example = page.locator("#examples button").first
        example.click()
        number = int((example.get_attribute("title") or "").removeprefix("Test image "))
        expect(page.locator("#digit")).to_have_text("11")
        browser.settle(page)
        pixels = np.reshape(page.evaluate("[...traced[0].values]"), (3, 32, 40))
        np.testing.assert_allclose(pixels.transpose(1, 2, 0) * 255, images[number], atol=1e-4)
        assert page.evaluate("document.documentElement.scrollWidth") == 360
