"""The page in the distribution's Chromium, and a hand that draws on it."""

import base64
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from stages.common.images import Images

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needed = pytest.mark.skipif(not CHROMIUM, reason="no Chromium here: apt-get install chromium")

Scheme = Literal["light", "dark"]

# How a person writes each digit: strokes of points x,y in percent of the pad, / between them.
STROKES = {
    0: "52,17 38,23 30,40 30,60 38,77 51,83 64,76 71,58 70,38 63,22 51,17",
    1: "54,15 53,32 51,50 49,68 48,86",
    2: "30,32 36,20 50,15 63,21 67,34 60,49 47,63 32,81 50,80 72,79",
    3: "32,23 45,15 60,18 66,30 59,42 46,47 61,52 69,65 62,79 47,85 31,79",
    4: "40,15 36,30 31,46 30,53 48,53 70,50 / 64,18 62,40 59,62 57,86",
    5: "38,18 36,32 34,46 48,42 63,48 69,62 63,77 48,84 32,79 / 38,18 53,18 69,16",
    6: "60,15 47,26 37,42 32,60 36,77 49,85 63,79 67,65 58,55 45,57 35,66",
    7: "29,20 48,19 70,18 62,36 53,53 46,70 42,86",
    8: "64,24 52,16 39,21 37,33 48,45 62,57 67,71 58,83 43,83 34,72 39,58 53,46 64,34 64,24",
    9: "65,31 55,18 41,20 34,33 39,46 52,49 63,40 65,31 64,50 61,68 57,86",
}


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window; `CHROMIUM` must be there."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Browser,
    path: Path,
    width: int = 1280,
    scheme: Scheme = "light",
    *,
    touch: bool = False,
    complaints: bool = False,
) -> Iterator[Page]:
    """The page in a file, without a network. Nothing may be on the console in the end, unless
    there may be `complaints`, and nothing may have been asked for beside the file."""
    console: list[str] = []
    requests: list[str] = []
    context = browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
        has_touch=touch,
        offline=True,
    )
    page = context.new_page()
    page.on("console", lambda message: console.append(message.text))
    page.on("pageerror", lambda error: console.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    yield page
    context.close()
    if not complaints:
        assert console == []
        assert {url for url in requests if not url.startswith("data:")} == {path.as_uri()}


def draw(page: Page, *digits: int) -> None:
    """Write digits side by side with the mouse, on an empty pad."""
    page.locator("#pad").scroll_into_view_if_needed()
    if page.locator("#clear").is_enabled():
        page.locator("#clear").click()
    box = page.locator("#pad").bounding_box()
    assert box is not None
    size = box["width"] / len(digits)
    top = box["y"] + (box["height"] - size) / 2
    for place, digit in enumerate(digits):
        for stroke in STROKES[digit].split(" / "):
            points = [[int(number) / 100 for number in xy.split(",")] for xy in stroke.split()]
            start, *others = ((box["x"] + (place + x) * size, top + y * size) for x, y in points)
            page.mouse.move(*start)
            page.mouse.down()
            for point in others:
                page.mouse.move(*point)
            page.mouse.up()
    settle(page)


def settle(page: Page) -> None:
    """Wait until the page has shown what was drawn."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")


def classify(
    page: Page, images: Images, network: dict[str, Any] | None = None
) -> npt.NDArray[np.float64]:
    """The probabilities (n, classes) that the page's script gives images (n, height, width,
    channels), by its own network or by another one that `embed_network` made."""
    parts = []
    images = images.transpose(0, 3, 1, 2)
    for part in np.split(images, range(500, len(images), 500)):
        pixels = base64.b64encode(part.tobytes()).decode()
        parts += page.evaluate(
            """([pixels, size, network]) => {
              const bytes = Uint8Array.from(atob(pixels), (character) => character.charCodeAt(0));
              const tensors = readTensors(network ?? NETWORK);
              const results = [];
              for (let start = 0; start < bytes.length; start += size) {
                const pixels = bytes.subarray(start, start + size);
                const image = Float32Array.from(pixels, (byte) => byte / 255);
                results.push(classify(tensors, network ?? NETWORK, image));
              }
              return results;
            }""",
            [pixels, part[0].size, network],
        )
    return np.array(parts)
