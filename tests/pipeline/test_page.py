"""The page of a tiny run, as a file and in a real browser."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from playwright.sync_api import Browser, Page, expect

from stages.common import mnist
from stages.common.network import Network, NetworkConfig
from tests import browser, tiny
from tests.pipeline.conftest import Project
from tools.page import content
from tools.page.__main__ import SCRIPTS

# Text that would run, were it not escaped.
HOSTILE = "</script><script>hacked = 1</script><img src=x onerror='hacked = 1'>\"'&"

needs_chromium = pytest.mark.skipif(not browser.CHROMIUM, reason=browser.MISSING)


def write(project: Project, name: str = "page/index.html") -> Path:
    """The page of a project."""
    output = project("python", "-m", "tools.page", name)
    path = project.folder / name
    kilobytes = re.fullmatch(rf"{name}: (\d+) kB, open it in a browser\n", output)
    assert kilobytes, output
    assert int(kilobytes[1]) == round(path.stat().st_size / 1000)
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


def test_a_changed_workspace_is_named(project: Project) -> None:
    project.set_param("train", "seed", 7)
    assert "with uncommitted changes" in write(project).read_text(encoding="utf-8")


def test_weights_that_are_not_those_of_the_commit_are_named(project: Project) -> None:
    """Git does not track them."""
    model = project.folder / "models/model.safetensors"
    other = model.parent / "checkpoints/epoch-01.safetensors"
    model.unlink()  # DVC's copy is read-only, or a link into its cache
    shutil.copy(other, model)
    assert "with uncommitted changes" in write(project).read_text(encoding="utf-8")


def test_the_time_is_that_of_the_last_commit_that_changed_the_lock(project: Project) -> None:
    environment = {"GIT_COMMITTER_DATE": "2031-05-06T23:30:00-02:00"}
    commit = ["git", "commit", "--quiet", "--message=x", "--allow-empty"]
    project.run(*commit, **environment)
    assert "2031" not in write(project).read_text(encoding="utf-8")
    with (project.folder / "dvc.lock").open("a") as lock:
        lock.write("# a change\n")
    project.run(*commit, "--all", **environment)
    assert "2031-05-07 01:30 UTC" in write(project).read_text(encoding="utf-8")


def test_a_shallow_clone_does_not_know_the_time(project: Project) -> None:
    (project.folder / ".git/shallow").write_text(project("git", "rev-parse", "HEAD"))
    assert "unknown: this is a shallow clone" in write(project).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("missing", "remedy"),
    [
        ("data", "dvc repro download"),
        ("models", "dvc repro train"),
        ("metrics/predictions.csv", "dvc repro"),
        ("metrics/plots", "dvc repro"),
        (".git", "not a git repository"),
    ],
)
def test_what_is_missing_is_one_line(project: Project, missing: str, remedy: str) -> None:
    path = project.folder / missing
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    process = project.run("python", "-m", "tools.page")
    assert process.returncode == 1
    assert remedy in process.stdout
    assert len(process.stdout.splitlines()) == 1
    assert not (project.folder / "page").exists()


@needs_chromium
def test_the_network_in_the_page_gives_the_predictions(page: Page, reproduced: Project) -> None:
    images, _ = mnist.load(reproduced.folder / "data/MNIST/raw", "test")
    predictions = pd.read_csv(reproduced.folder / "metrics/predictions.csv")
    probabilities = browser.classify(page, images)
    assert (probabilities.argmax(axis=1) == predictions["predicted"]).all()
    assert abs(probabilities.max(axis=1) - predictions["confidence"]).max() < 1e-4


@needs_chromium
@pytest.mark.parametrize("kernel_size", [1, 4, 9])
def test_the_network_in_the_page_takes_any_shape(page: Page, kernel_size: int) -> None:
    torch.manual_seed(1)
    sizes = {"conv1_filters": 3, "conv2_filters": 4, "hidden_units": 7}
    network = Network(NetworkConfig(**sizes, kernel_size=kernel_size, mean=0.2, std=0.4))
    images, _ = tiny.digits(5, seed=5)
    with torch.no_grad():
        expected = network(torch.from_numpy(mnist.normalise(images, 0.2, 0.4))).exp().numpy()
        embedded = content.embed_weights(network)
    assert browser.classify(page, images, embedded) == pytest.approx(expected, abs=1e-5)


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_works_without_a_network_and_without_complaints(
    chromium: Browser, written: Path, scheme: str, width: int
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
def test_undo_takes_a_stroke_and_clear_takes_all(page: Page) -> None:
    browser.draw(page, 4)  # two strokes
    both = browser.ink(page)
    page.locator("#undo").click()
    browser.settle(page)
    one = browser.ink(page)
    assert 0 < one < both
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
        for y in range(60, 260, 20):
            point = {"x": box["x"] + 150, "y": box["y"] + y}
            kind = "touchStart" if y == 60 else "touchMove"
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
def test_a_cell_of_the_matrix_opens_the_images_behind_it(page: Page, reproduced: Project) -> None:
    images, _ = mnist.load(reproduced.folder / "data/MNIST/raw", "test")
    predictions = pd.read_csv(reproduced.folder / "metrics/predictions.csv")
    for (label, predicted), group in predictions.groupby(["label", "predicted"]):
        cell = page.locator(f"[data-label='{label}'][data-predicted='{predicted}']")
        expect(cell).to_have_text(str(len(group)))
        cell.click()
        expect(cell).to_have_attribute("aria-pressed", "true")
        figures = page.locator("#examples figure")
        expect(figures).to_have_count(min(len(group), content.EXAMPLES))
        shown = {}
        for figure in figures.all():
            index = int(re.findall(r"\d+", figure.get_attribute("title") or "")[0])
            shown[index] = figure.locator("canvas").evaluate(
                "(c) => [...c.getContext('2d').getImageData(0, 0, 28, 28).data]"
            )
        assert shown.keys() <= set(group["index"])
        for index, pixels in shown.items():
            assert (np.reshape(pixels, (28, 28, 4))[..., 0] == 255 - images[index]).all()


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
    pictures = project.folder / "metrics/plots"
    shutil.copy(pictures / "samples.png", pictures / "<img src=x onerror=hacked=1>.png")
    project("git", "commit", "--quiet", "--all", "--message", HOSTILE)
    with browser.opened(chromium, write(project)) as page:
        assert page.evaluate("typeof hacked") == "undefined"
        assert page.locator("script").count() == 2 + len(SCRIPTS)  # two hold data
        assert page.locator(".run dd").first.inner_text().endswith(HOSTILE)
        assert page.locator("dt", has_text=HOSTILE).inner_text() == HOSTILE
