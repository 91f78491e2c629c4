"""The page of the committed run, on MNIST itself."""

import base64
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from stages.common import mnist
from tests.support import browser, pictures
from tests.support.outputs import DATA, MODEL, PREDICTIONS
from tests.support.runner import ROOT
from tools.page import __main__ as tool
from tools.page import content
from tools.prepare import prepare

PRESENT = DATA.exists() and MODEL.exists()

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not browser.CHROMIUM, reason=browser.MISSING),
    pytest.mark.skipif(not PRESENT, reason="no data and weights here: dvc repro"),
]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "index.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(sys, "argv", ["tools.page", str(path)])
        tool.main()
    return path


@pytest.fixture(scope="module")
def page(written: Path) -> Iterator[Page]:
    with browser.chromium() as chromium, browser.opened(chromium, written) as opened:
        yield opened


def test_the_file_is_smaller_than_a_megabyte(written: Path) -> None:
    assert written.stat().st_size < 1_000_000


def test_all_test_images_get_the_labels_and_confidences_of_the_predictions(page: Page) -> None:
    images, _ = mnist.load(DATA, "test")
    predictions = pd.read_csv(PREDICTIONS)
    probabilities = browser.classify(page, images)
    assert len(probabilities) == 10_000
    assert (probabilities.argmax(axis=1) == predictions["predicted"]).all()
    difference = abs(probabilities.max(axis=1) - predictions["confidence"]).max()
    print(f"Greatest difference of confidence: {difference:.1e}")
    assert difference < 1e-4


def test_drawn_digits_are_read(page: Page) -> None:
    read = []
    for digit in range(10):
        browser.draw(page, digit)
        browser.settle(page)
        read.append(int(page.locator("#digit").inner_text()))
    print(f"Drawn 0 to 9, read {read}")
    assert sum(np.equal(read, range(10))) >= 9


@pytest.mark.parametrize("digits", [*((digit,) for digit in range(10)), (4, 2), (1, 0), (5, 5, 5)])
def test_a_drawing_is_prepared_as_its_picture_is(page: Page, digits: tuple[int, ...]) -> None:
    """The page and `tools.predict` see the same, but for how they round."""
    browser.draw(page, *digits)
    browser.settle(page)
    address, image, several = page.evaluate(
        "[pad.toDataURL(), [...readDigit().image], readDigit().several]"
    )
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as picture:
        expected = prepare(picture)
    difference = pictures.difference(255 * np.reshape(image, (28, 28)), expected.image)
    assert difference.max() < 10
    assert difference.mean() < 0.1
    assert several == expected.several == (len(digits) > 1)


def test_a_cell_of_the_matrix_opens_the_images_behind_it(page: Page) -> None:
    images, _ = mnist.load(DATA, "test")
    predictions = pd.read_csv(PREDICTIONS)
    for (label, predicted), group in predictions.groupby(["label", "predicted"]):
        cell = page.locator(f"[data-label='{label}'][data-predicted='{predicted}']")
        expect(cell).to_have_text(str(len(group)))
        cell.click()
        expect(cell).to_have_attribute("aria-pressed", "true")
        shown = page.locator("#examples figure").evaluate_all(
            """(figures) => figures.map((figure) => [
              Number(figure.title.match(/[0-9]+/)[0]),
              [...figure.firstChild.getContext("2d").getImageData(0, 0, 28, 28).data],
            ])"""
        )
        assert len(shown) == min(len(group), content.EXAMPLES)
        assert {index for index, _ in shown} <= set(group["index"])
        for index, pixels in shown:
            assert (np.reshape(pixels, (28, 28, 4))[..., 0] == 255 - images[index]).all()
