"""The page of a tiny run, as a file and in a real browser."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Page, expect

from stages.common import mnist
from stages.model.network import Network, NetworkConfig
from tests.support import browser, pictures, tiny
from tests.support.project import Project
from tools.page import content, provenance
from tools.page.__main__ import SCRIPTS
from tools.prepare import Grey, prepare

# Text that would run, were it not escaped.
HOSTILE = "</script><script>hacked = 1</script><img src=x onerror='hacked = 1'>\"'&"

needs_chromium = pytest.mark.skipif(not browser.CHROMIUM, reason=browser.MISSING)


def write(project: Project, name: str = "page/index.html") -> Path:
    """The page of a project."""
    output = project("python", "-m", "tools.page", name)
    path = project.folder / name
    assert output == f"{name}: {path.stat().st_size / 1000:.0f} kB, open it in a browser\n"
    return path


@pytest.fixture(scope="module")
def written(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the tiny run, only for reading."""
    return write(reproduced, str(tmp_path_factory.mktemp("page") / "index.html"))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser.chromium() as started:
        yield started


@pytest.fixture
def page(chromium: Browser, written: Path) -> Iterator[Page]:
    """The page of the tiny run in a browser without a network."""
    with browser.opened(chromium, written) as opened:
        yield opened


def test_the_same_commit_gives_the_same_bytes(project: Project, written: Path) -> None:
    project("git", "branch", "--move", "other")
    assert write(project).read_bytes() == written.read_bytes()
    assert b"uncommitted" not in written.read_bytes()
    assert project("git", "rev-parse", "HEAD").strip() in written.read_text(encoding="utf-8")
    assert project("git", "status", "--porcelain") == ""  # the page itself is ignored


def test_a_changed_parameter_is_a_changed_workspace(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    assert not provenance.is_changed()
    project.set_param("train", "seed", 7)
    assert provenance.is_changed()


def test_other_weights_are_a_changed_workspace_though_git_does_not_track_them(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    model = project.folder / "models/model.safetensors"
    model.unlink()  # it may be a link into DVC's cache
    shutil.copy(model.parent / "checkpoints/epoch-01.safetensors", model)
    assert project("git", "status", "--porcelain") == ""
    assert provenance.is_changed()


@needs_chromium
def test_the_network_in_the_page_gives_the_predictions(page: Page, reproduced: Project) -> None:
    images, _ = mnist.load(reproduced.folder / "data/MNIST/raw", "test")
    predictions = pd.read_csv(reproduced.folder / "metrics/predictions.csv")
    probabilities = browser.classify(page, images)
    assert (probabilities.argmax(axis=1) == predictions["predicted"]).all()
    assert abs(probabilities.max(axis=1) - predictions["confidence"]).max() < 1e-4


@needs_chromium
@pytest.mark.parametrize("kernel_size", [1, 4, 5, 9])
def test_the_network_in_the_page_takes_any_shape(page: Page, kernel_size: int) -> None:
    torch.manual_seed(1)
    sizes = {"conv1_filters": 3, "conv2_filters": 4, "hidden_units": 7}
    network = Network(NetworkConfig(**sizes, kernel_size=kernel_size, mean=0.2, std=0.4))
    images, _ = tiny.digits(5, seed=5)
    with torch.no_grad():
        expected = network(torch.from_numpy(mnist.normalise(images, 0.2, 0.4))).exp().numpy()
        embedded = content.embed_network(network)
    assert browser.classify(page, images, embedded) == pytest.approx(expected, abs=1e-5)


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_works_without_a_network_and_without_complaints(
    chromium: Browser, written: Path, scheme: browser.Scheme, width: int
) -> None:
    with browser.opened(chromium, written, width, scheme) as page:
        expect(page.locator("#undo")).to_be_disabled()
        browser.draw(page, 4)
        expect(page.locator("#digit")).to_have_text(re.compile("[0-9]"))
        expect(page.locator("#said")).to_have_text(re.compile(r"^[0-9], \d+\.\d\s% sure\nthen "))
        values = page.locator("#bars .value").all_inner_texts()
        assert sum(float(value.rstrip("\u00a0%")) for value in values) == pytest.approx(100, abs=1)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(15, 17, 21)") == (scheme == "dark")


@needs_chromium
def test_a_stroke_is_classified_while_it_is_drawn(page: Page) -> None:
    box = page.locator("#pad").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 100, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 100, box["y"] + 260)
    expect(page.locator("#digit")).to_have_text(re.compile("[0-9]"))


@needs_chromium
def test_more_than_one_digit_is_said_and_classified_all_the_same(page: Page) -> None:
    browser.draw(page, 4, 2)
    expect(page.locator("#several")).to_have_text("This looks like more than one digit. Draw one.")
    expect(page.locator("#digit")).to_have_text(re.compile("[0-9]"))
    browser.draw(page, 4)
    expect(page.locator("#several")).to_be_empty()


@needs_chromium
def test_a_drawing_is_prepared_as_tools_predict_prepares_a_picture_of_it(page: Page) -> None:
    random = np.random.default_rng(4)
    answers = []
    for parts in range(60):
        drawing = blobs(random, parts % 5 + 1)
        expected = prepare(Image.fromarray(drawing))
        image, several = browser.prepare(page, drawing)
        difference = pictures.difference(255 * image, expected.image)
        assert difference.max() < 20
        assert difference.mean() < 1
        assert several == expected.several
        answers.append(several)
    assert 15 < sum(answers) < 45


def blobs(random: np.random.Generator, n: int) -> Grey:
    """Ink (255) of `n` ellipses that may touch, some as small as dust."""
    picture = Image.new("L", (560, 560))
    for _ in range(n):
        left, top = random.integers(10, (200, 390))
        width, height = random.integers(10, 160, 2)
        ImageDraw.Draw(picture).ellipse((left, top, left + width, top + height), fill=255)
    return np.asarray(picture)


@needs_chromium
def test_undo_takes_a_stroke_and_clear_takes_all(page: Page) -> None:
    browser.draw(page, 4)  # two strokes
    browser.settle(page)
    both, (first, _) = browser.ink(page), page.evaluate("strokes")
    page.locator("#undo").click()
    browser.settle(page)
    assert 0 < browser.ink(page) < both
    assert page.evaluate("strokes") == [first]
    browser.draw(page, 5)
    page.locator("#clear").click()
    expect(page.locator("#digit")).to_have_text("?")
    assert browser.ink(page) == 0
    expect(page.locator("#undo")).to_be_disabled()


@needs_chromium
def test_a_finger_draws_and_does_not_scroll(chromium: Browser, written: Path) -> None:
    with browser.opened(chromium, written, width=360, touch=True) as page:
        box = page.locator("#pad").bounding_box()
        assert box is not None
        finger = page.context.new_cdp_session(page)
        for y in range(240, 40, -20):  # upwards, as one scrolls down
            point = {"x": box["x"] + 150, "y": box["y"] + y}
            kind = "touchStart" if y == 240 else "touchMove"
            finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
        finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        expect(page.locator("#said")).to_have_text(re.compile("sure"))
        assert page.evaluate("scrollY") == 0
        assert page.evaluate("strokes.length") == 1


@needs_chromium
def test_the_keyboard_alone_draws_undoes_and_clears(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.locator("#pad")).to_be_focused()
    expect(page.locator("#pen")).to_be_visible()
    page.keyboard.press("ArrowRight")  # nothing is drawn before the pen is down
    page.keyboard.press("Space")
    for _ in range(12):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    expect(page.locator("#said")).to_have_text(re.compile("sure"))
    assert page.evaluate("strokes.map((stroke) => stroke.length)") == [13]
    page.keyboard.press("Space")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Backspace")
    page.keyboard.press("ArrowLeft")  # the pen is up again
    assert page.evaluate("strokes.length") == 1
    page.keyboard.press("Escape")
    expect(page.locator("#said")).to_have_text("Nothing drawn")
    page.keyboard.press("Tab")  # it is no trap
    expect(page.locator("#pad")).not_to_be_focused()


@needs_chromium
@pytest.mark.parametrize(
    ("attempt", "directive"),
    [
        ("fetch('https://example.com/')", "connect-src"),
        ("navigator.sendBeacon('https://example.com/')", "connect-src"),
        ("add('img', { src: 'https://example.com/' })", "img-src"),
        ("add('iframe', { src: 'https://example.com/' })", "frame-src"),
        ("add('script', { src: 'https://example.com/' })", "script-src-elem"),
        ("add('script', { textContent: 'hacked = 1' })", "script-src-elem"),
        ("add('style', { textContent: 'body { color: red }' })", "style-src-elem"),
    ],
)
def test_the_policy_refuses_connections_and_other_scripts(
    chromium: Browser, written: Path, attempt: str, directive: str
) -> None:
    with browser.opened(chromium, written, complaints=True) as page:
        refused = page.evaluate(
            """async (attempt) => {
              const refusal = new Promise((done) =>
                document.addEventListener("securitypolicyviolation", done, { once: true }));
              const add = (name, values) =>
                document.body.append(Object.assign(document.createElement(name), values));
              ATTEMPT;
              return (await refusal).effectiveDirective;
            }""".replace("ATTEMPT", attempt)
        )
        assert refused == directive
        assert page.evaluate("typeof hacked") == "undefined"


@needs_chromium
def test_text_from_the_project_does_not_run(chromium: Browser, project: Project) -> None:
    project("git", "switch", "--quiet", "--create", "<script>hacked=1</script>")
    project.set_param("train", HOSTILE, HOSTILE)
    plots = project.folder / "metrics/plots"
    shutil.copy(plots / "samples.png", plots / "<img src=x onerror=hacked=1>.png")
    project("git", "commit", "--quiet", "--all", "--message", HOSTILE)
    with browser.opened(chromium, write(project)) as page:
        assert page.evaluate("typeof hacked") == "undefined"
        assert page.locator("script").count() == 2 + len(SCRIPTS)  # two hold data
        assert page.locator(".run dd").first.inner_text().endswith(HOSTILE)
        assert page.locator("dt", has_text=HOSTILE).inner_text() == HOSTILE
