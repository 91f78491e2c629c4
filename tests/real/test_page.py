"""The page of the committed run, on MNIST itself."""

import base64
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Page, expect

from stages.common.images import Images
from tests.support import browser
from tests.support.outputs import MODEL
from tests.support.runner import ROOT
from tools import predict
from tools.page import __main__ as tool
from tools.page import results

pytestmark = [pytest.mark.real, browser.needed]


@pytest.fixture(scope="module")
def page(predictions: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    assert len(predictions)
    path = tmp_path_factory.mktemp("page") / "index.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(sys, "argv", ["tools.page", str(path)])
        tool.main()
    assert path.stat().st_size < 700_000
    with browser.chromium() as chromium, browser.opened(chromium, path) as opened:
        yield opened


@pytest.mark.slow
def test_all_test_images_get_the_labels_and_confidences_of_the_predictions(
    page: Page, images: Images, predictions: pd.DataFrame
) -> None:
    probabilities = browser.classify(page, images)
    assert (probabilities.argmax(axis=1) == predictions["predicted"]).all()
    difference = abs(probabilities.max(axis=1) - predictions["confidence"]).max()
    print(f"Greatest difference of confidence: {difference:.1e}")
    assert difference < 1e-4


def test_what_is_drawn_is_read_as_tools_predict_reads_its_picture(
    page: Page, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawings = [*((digit,) for digit in range(10)), (4, 2), (1, 0), (5, 5, 5)]
    answers = []
    for n, digits in enumerate(drawings):
        browser.draw(page, *digits)
        address, answer = page.evaluate("[pad.toDataURL(), readDigit()]")
        (tmp_path / f"{n:02}.png").write_bytes(base64.b64decode(address.partition(",")[2]))
        answers.append((int(page.locator("#digit").inner_text()), answer))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["predict", "--json", f"--model={MODEL}", str(tmp_path)])
        predict.main()
    guesses = json.loads(capsys.readouterr().out)
    for guess, digits, (shown, answer) in zip(guesses, drawings, answers, strict=True):
        assert shown == guess["digit"]
        assert max(answer["probabilities"]) == pytest.approx(guess["confidence"], abs=0.01)
        assert answer["several"] == guess["several"] == (len(digits) > 1)
    read = [shown for shown, _ in answers[:10]]
    assert sum(np.equal(read, range(10))) >= 9, read


def test_a_cell_of_the_matrix_opens_the_images_behind_it(
    page: Page, images: Images, predictions: pd.DataFrame
) -> None:
    some = predictions[predictions["label"].isin([4, 9])]
    for (label, predicted), group in some.groupby(["label", "predicted"]):
        cell = page.locator(f"[data-label='{label}'][data-predicted='{predicted}']")
        expect(cell).to_have_text(str(len(group)))
        cell.click()
        expect(cell).to_have_attribute("aria-pressed", "true")
        shown = page.locator("#examples button").evaluate_all(
            """(buttons) => buttons.map((button) => [
              Number(button.title.match(/[0-9]+/)[0]),
              [...button.firstChild.getContext("2d").getImageData(0, 0, 28, 28).data],
            ])"""
        )
        assert len(shown) == min(len(group), results.EXAMPLES)
        assert {index for index, _ in shown} <= set(group["index"])
        for index, pixels in shown:
            assert (np.reshape(pixels, (28, 28, 4))[..., 0] == 255 - images[index, ..., 0]).all()

    page.locator("[data-label='4'][data-predicted='9']").click()
    page.locator("#examples button").first.click()
    # The maps come after the answer.
    subject = re.compile(r"Test image \d+, a 4, from its pixels")
    expect(page.locator("#subject")).to_have_text(subject)
    expect(page.locator("#digit")).to_have_text("9")
