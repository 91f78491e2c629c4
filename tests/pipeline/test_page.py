"""The page of a tiny run, as a file and in a real browser."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, Page, expect

from stages.common.images import ImageFormat
from stages.model.network import Network, NetworkConfig
from tests.support import browser, run_files, tiny
from tests.support.project import Project
from tools.page import commit, results
from tools.page.__main__ import SCRIPTS

# Text that would run, were it not escaped.
HOSTILE = "</script><script>hacked = 1</script><img src=x onerror='hacked = 1'>\"'&"


def write(project: Project) -> Path:
    """The page of a project."""
    project("python", "-m", "tools.page")
    return project.folder / "page/index.html"


def test_the_same_commit_gives_the_same_bytes(project: Project, written: Path) -> None:
    project("git", "branch", "--move", "other")
    assert write(project).read_bytes() == written.read_bytes()
    assert b"uncommitted" not in written.read_bytes()
    assert project("git", "rev-parse", "HEAD").strip() in written.read_text(encoding="utf-8")
    assert project("git", "status", "--porcelain") == ""  # the page itself is ignored


def test_other_weights_or_parameters_are_a_changed_workspace(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    assert not commit.is_changed()
    model = project.folder / "models/model.safetensors"
    right = model.read_bytes()
    model.unlink()  # it may be a link into DVC's cache
    shutil.copy(model.parent / "checkpoints/epoch-01.safetensors", model)
    assert project("git", "status", "--porcelain") == ""  # git does not track it
    assert commit.is_changed()
    model.write_bytes(right)
    assert not commit.is_changed()
    project.set_param("train", "seed", 7)
    assert commit.is_changed()


def test_its_network_must_give_what_the_predictions_say(project: Project) -> None:
    run_files.change_confidence(project.folder / "metrics/predictions.csv")
    refused = project.run("python", "-m", "tools.page")
    assert refused.returncode == 1
    assert re.match(r"page/index\.html: not written: it would say .* 0\.123456", refused.stdout)
    assert refused.stdout.count("\n") == 1
    assert not (project.folder / "page").exists()
    no_node = "from tools.page import __main__, node; node.find_node = lambda: None; "
    assert "was not compared" in project("python", "-c", f"{no_node}__main__.main()")


@browser.needed
@pytest.mark.parametrize("kernel_size", [4, 9])
def test_the_network_in_the_page_takes_any_shape(page: Page, kernel_size: int) -> None:
    torch.manual_seed(1)
    sizes = {"conv1_filters": 3, "conv2_filters": 4, "hidden_units": 7}
    expected_images = ImageFormat(
        height=28, width=28, channels=1, classes=10, mean=[0.2], std=[0.4]
    )
    network = Network(NetworkConfig(**sizes, kernel_size=kernel_size), expected_images)
    images, _ = tiny.digits(5, seed=5)
    with torch.no_grad():
        expected = network(torch.from_numpy(network.images.normalise(images))).exp().numpy()
        embedded = results.embed_network(network)
    assert browser.classify(page, images, embedded) == pytest.approx(expected, abs=1e-5)


@browser.needed
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_it_works_without_a_network_and_without_complaints(
    chromium: Browser, written: Path, scheme: browser.Scheme, width: int
) -> None:
    with browser.opened(chromium, written, width, scheme) as page:
        expect(page.locator("#undo")).to_be_disabled()
        browser.draw(page, 4)
        expect(page.locator("#said")).to_have_text(re.compile(r"^[0-9], \d+\.\d\s% sure\nthen "))
        values = page.locator("#bars .value").all_inner_texts()
        assert sum(float(value.rstrip("\u00a0%")) for value in values) == pytest.approx(100, abs=1)
        expect(page.locator("#several")).to_be_empty()
        browser.draw(page, 4, 2)
        expect(page.locator("#several")).to_have_text(re.compile("more than one digit"))
        expect(page.locator("#digit")).to_have_text(re.compile("[0-9]"))
        assert page.evaluate("document.documentElement.scrollWidth") == width
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(15, 17, 21)") == (scheme == "dark")


@browser.needed
def test_undo_takes_a_stroke_and_clear_takes_all(page: Page) -> None:
    ink = "readInk().filter((amount) => amount).length"  # pixels
    browser.draw(page, 4)  # two strokes
    both, (first, _) = page.evaluate(ink), page.evaluate("strokes")
    page.locator("#undo").click()
    browser.settle(page)
    assert 0 < page.evaluate(ink) < both
    assert page.evaluate("strokes") == [first]
    page.locator("#clear").click()
    expect(page.locator("#digit")).to_have_text("?")
    assert page.evaluate(ink) == 0
    expect(page.locator("#undo")).to_be_disabled()


@browser.needed
def test_a_finger_draws_and_does_not_scroll(chromium: Browser, written: Path) -> None:
    with browser.opened(chromium, written, width=360, touch=True) as page:
        box = page.locator("#pad").bounding_box()
        assert box is not None
        finger = page.context.new_cdp_session(page)
        for y in range(240, 40, -20):  # upwards, as one scrolls down
            point = {"x": box["x"] + 150, "y": box["y"] + y}
            kind = "touchStart" if y == 240 else "touchMove"
            finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
        expect(page.locator("#digit")).to_have_text(re.compile("[0-9]"))  # while it is drawn
        finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        expect(page.locator("#said")).to_have_text(re.compile("sure"))
        assert page.evaluate("scrollY") == 0
        assert page.evaluate("strokes.length") == 1


@browser.needed
def test_the_keyboard_alone_draws_undoes_and_clears(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.locator("#pad")).to_be_focused()
    expect(page.locator("#pen")).to_be_visible()
    for key in ("ArrowRight", "Space", *["ArrowDown"] * 12, "Space"):
        page.keyboard.press(key)
    expect(page.locator("#said")).to_have_text(re.compile("sure"))
    assert page.evaluate("strokes.map((stroke) => stroke.length)") == [13]
    for key in ("Space", "ArrowLeft", "Backspace", "ArrowLeft"):
        page.keyboard.press(key)
    assert page.evaluate("strokes.map((stroke) => stroke.length)") == [13]
    page.keyboard.press("Escape")
    expect(page.locator("#said")).to_have_text("Nothing drawn")
    page.keyboard.press("Tab")  # it is no trap
    expect(page.locator("#pad")).not_to_be_focused()


@browser.needed
def test_the_policy_refuses_connections_and_other_scripts(chromium: Browser, written: Path) -> None:
    attempts = {
        "fetch('https://example.com/')": "connect-src",
        "add('img', { src: 'https://example.com/' })": "img-src",
        "add('iframe', { src: 'https://example.com/' })": "frame-src",
        "add('script', { textContent: 'hacked = 1' })": "script-src-elem",
        "add('style', { textContent: 'body { color: red }' })": "style-src-elem",
    }
    with browser.opened(chromium, written, complaints=True) as page:
        for attempt, directive in attempts.items():
            refused = page.evaluate(
                """async (attempt) => {
                  const refusal = new Promise((done) =>
                    document.addEventListener("securitypolicyviolation", done, { once: true }));
                  const add = (name, values) =>
                    document.body.append(Object.assign(document.createElement(name), values));
                  ATTEMPT;
                  const late = new Promise((done) => setTimeout(done, 5000, {}));
                  return (await Promise.race([refusal, late])).effectiveDirective;
                }""".replace("ATTEMPT", attempt)
            )
            assert refused == directive
        assert page.evaluate("typeof hacked") == "undefined"


@browser.needed
def test_text_from_the_project_does_not_run(chromium: Browser, project: Project) -> None:
    project.set_param("train", HOSTILE, HOSTILE)
    plots = project.folder / "metrics/plots"
    shutil.copy(plots / "samples.png", plots / "<img src=x onerror=hacked=1>.png")
    project("git", "commit", "--quiet", "--all", "--message", HOSTILE)
    with browser.opened(chromium, write(project)) as page:
        assert page.evaluate("typeof hacked") == "undefined"
        assert page.locator("script").count() == 2 + len(SCRIPTS)  # two hold data
        assert page.locator(".run dd").first.inner_text().endswith(HOSTILE)
        assert page.locator("dt", has_text=HOSTILE).inner_text() == HOSTILE
