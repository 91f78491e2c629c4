"""Layers of a known kind are added in one file, and training, ONNX and the page agree."""

import re

import numpy as np
import onnxruntime
import pandas as pd
import pytest

from stages.common import mnist
from tests.support import browser
from tests.support.parts import needs
from tests.support.project import Project
from tests.support.runner import DATA
from tools.yaml_files import set_values

LAYERS = """

def layers(config: NetworkConfig, images: ImageFormat) -> dict[str, nn.Module]:  # another one
    convolutions = {
        "conv1": nn.Conv2d(1, config.conv1_filters, config.kernel_size),
        "pool1": nn.MaxPool2d(2),
        "relu1": nn.ReLU(),
        "conv2": nn.Conv2d(10, config.conv2_filters, 5),
        "pool2": nn.MaxPool2d(2),
        "relu2": nn.ReLU(),
        "conv3": nn.Conv2d(20, 12, (3, 2), stride=(1, 2), padding=1),
        "relu4": nn.ReLU(),
        "flatten": nn.Flatten(),
    }
    fully_connected = {
        "fc1": nn.Linear(count_features(convolutions, images), config.hidden_units),
        "relu3": nn.ReLU(),
        "fc2": nn.Linear(50, images.classes),
        "log_softmax": nn.LogSoftmax(dim=1),
    }
    return convolutions | fully_connected
"""


# Whether a pixel stays the same when all but what the page says it saw is noise, and changes when
# the first or the last row or column of that is noise.
SAW = """([layer, map, pixel]) => {
  const { first: [top, left], last: [bottom, right] } = sourceOf({ layer, map }, pixel);
  const image = traced[0].values;
  const at = (picture) => planes(trace(TENSORS, NETWORK, picture)[layer + 1])[map][pixel];
  const noise = (where) => image.map((v, i) =>
    where(Math.floor(i / 28), i % 28) ? 100 * (Math.random() - 0.5) : v);
  const changes = (where) => Array(30).fill().some(() => at(noise(where)) !== at(image));
  return !changes((y, x) => y < top || x < left || y > bottom || x > right) &&
    changes((y) => y === top) && changes((y) => y === bottom) &&
    changes((_, x) => x === left) && changes((_, x) => x === right);
}"""


@pytest.fixture(scope="module")
def changed(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose network has a third convolution and sees pixels of another scale,
    reproduced and committed."""
    project = reproduced.copy(tmp_path_factory.mktemp("changed"))
    # With a low learning rate it is not certain of everything, so that predictions can differ.
    params = {"images.mean": [0.2], "images.std": [0.4], "train.lr": 0.02}
    set_values(project.folder / "params.yaml", params)
    source = project.folder / "stages/model/network.py"
    source.write_text(source.read_text(encoding="utf-8") + LAYERS, encoding="utf-8")
    assert project.repro() == ["train", "evaluate", "plot"]
    project("git", "commit", "--quiet", "--all", "--message=another network")
    return project


def test_it_learns_and_its_bits_do_not_depend_on_the_number_of_workers(changed: Project) -> None:
    history = pd.read_csv(changed.folder / "metrics/history.csv")
    assert history["loss"].iloc[-1] < history["loss"].iloc[0] / 2
    again = ("dvc", "repro", "--force", "--single-item", "train")
    assert changed.run(*again, PIPELINE_WORKERS="1").returncode == 0
    assert changed("git", "status", "--short") == ""


def test_onnx_gives_its_predictions(changed: Project) -> None:
    changed("python", "-m", "tools.export", "model.onnx")
    images, _ = mnist.load(changed.folder / DATA, "test")
    session = onnxruntime.InferenceSession(changed.folder / "model.onnx")
    (seen,) = session.run(None, {"image": images.transpose(0, 3, 1, 2).astype(np.float32) / 255})
    assert_predictions(changed, np.exp(seen))


@needs("tools/page")
@browser.needed
def test_the_page_gives_its_predictions(changed: Project) -> None:
    changed("python", "-m", "tools.page")
    images, _ = mnist.load(changed.folder / DATA, "test")
    path = changed.folder / "page/index.html"
    with browser.chromium() as chromium, browser.opened(chromium, path) as page:
        assert_predictions(changed, browser.classify(page, images))
        browser.draw(page, 7)
        (heading,) = page.locator("#layers h3", has_text="conv3").all_inner_texts()
        assert re.fullmatch(r"conv3\W+12 . 4 . 3", heading)
        assert page.get_by_label("conv3, map", exact=False).count() == 12
        # conv3 has padding, strides and a filter of 3x2: a pixel at its edge saw less of the image.
        for place in ([8, 5, 0], [8, 5, 7], [5, 1, 9]):  # layer (5 is conv2), map, pixel
            assert page.evaluate(SAW, place), place


def assert_predictions(project: Project, probabilities: np.ndarray) -> None:
    """The probabilities (n, 10) are those behind predictions.csv."""
    predictions = pd.read_csv(project.folder / "metrics/predictions.csv")
    assert predictions["confidence"].min() < 0.9
    assert (probabilities.argmax(axis=1) == predictions["predicted"]).all()
    assert abs(probabilities.max(axis=1) - predictions["confidence"]).max() < 1e-5
