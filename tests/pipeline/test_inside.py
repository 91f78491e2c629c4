"""The page shows the network at work, on the page of a tiny run in a real browser."""

import re

import numpy as np
import pytest
import torch
from playwright.sync_api import Page, expect

from stages.common import mnist
from stages.model import weights
from stages.model.network import Network
from tests.support import browser
from tests.support.project import Project
from tests.support.runner import DATA

pytestmark = browser.needed


@pytest.fixture
def network(reproduced: Project) -> Network:
    return weights.load(reproduced.folder / "models/model.safetensors")


def image_in(page: Page) -> torch.Tensor:
    """The image that the page shows, (1, 1, 28, 28)."""
    pixels = torch.tensor(page.evaluate("[...traced[0].values]"))
    return pixels.view(1, 1, 28, 28)


def outputs_of(network: Network, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """What PyTorch makes of an image: the output of each layer, by name."""
    x = (image - network.images.mean[0]) / network.images.std[0]
    outputs = {"normalised": x}
    for name, layer in network.named_children():
        x = outputs[name] = layer(x)
    return outputs | {"probabilities": x.exp()}


def test_it_lists_the_layers_with_the_numbers_of_pytorch(page: Page, network: Network) -> None:
    browser.draw(page, 4)
    outputs = outputs_of(network, image_in(page))
    headings = page.locator("#layers h3").all_inner_texts()
    expected = [[name, *map(str, tensor.shape[1:])] for name, tensor in outputs.items()]
    assert [re.findall(r"\w+", heading.partition(" =")[0]) for heading in headings] == expected
    assert [heading for heading in headings if re.search(r"flatten\W+320 = 20 . 4 . 4$", heading)]
    seen = page.evaluate("traced.slice(2).map(({ values }) => [...values])")
    for (name, tensor), values in zip(outputs.items(), seen, strict=True):
        np.testing.assert_allclose(values, tensor.flatten(), rtol=0, atol=1e-4, err_msg=name)
    assert page.locator("#layers .filter").count() == network.config.conv1_filters


def test_the_pixel_under_the_pointer_is_shown_with_what_it_saw(
    page: Page, network: Network
) -> None:
    browser.draw(page, 4)
    value = outputs_of(network, image_in(page))["conv2"][0, 3, 6, 2].item()
    button = page.get_by_label("conv2, map 3 of 20", exact=True)
    box = button.bounding_box()
    assert box
    button.hover(position={"x": 2.5 / 8 * box["width"], "y": 6.5 / 8 * box["height"]})
    numbers = page.locator("#numbers")
    shown = f"{value:.3f}".replace("-", "\u2212")
    # A pixel of conv2 saw 5x5 pooled pixels, so 10x10 pixels of conv1, so 14x14 of the image.
    expected = f"conv2[3, 6, 2] = {shown}. It saw rows 12 to 25 and columns 4 to 17 of the image."
    expect(numbers).to_contain_text(expected)
    assert page.locator("#maker").inner_text() == "filter 3 of conv2"
    page.mouse.move(0, 0)
    expect(page.locator("#chosen-map")).to_have_text("conv1, map 0 of 10")  # none was clicked


def test_the_keyboard_reaches_every_map_and_every_pixel(page: Page) -> None:
    browser.draw(page, 4)
    page.locator("#clear").focus()
    for key in ("Tab", "ArrowUp"):  # to the first convolution, and to the layer before
        page.keyboard.press(key)
    reached = []
    for _ in range(page.locator("#layers > div").count()):
        in_row = []
        while (name := page.evaluate("document.activeElement.ariaLabel")) not in in_row:
            in_row.append(name)
            expect(page.locator("#chosen-map")).to_contain_text(name.split(",")[0])
            page.keyboard.press("ArrowRight")
        reached += in_row
        for _ in in_row:
            page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowDown")
    assert reached == page.locator("#layers button").evaluate_all(
        "all => all.map(b => b.ariaLabel)"
    )
    page.keyboard.press("Tab")
    expect(page.locator("#large")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    left = page.locator("#numbers").inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator("#numbers").inner_text() != left


def test_the_patch_that_decides_is_the_one_without_which_the_answer_falls_most(
    page: Page, network: Network
) -> None:
    browser.draw(page, 4)
    expect(page.locator("#decides")).to_contain_text("Without the strongest orange")
    image = image_in(page)
    before = outputs_of(network, image)["log_softmax"]
    best = int(before.argmax())
    falls = {}
    for row in range(0, 28, 4):
        for column in range(0, 28, 4):
            blanked = image.clone()
            blanked[..., row : row + 4, column : column + 4] = 0
            after = outputs_of(network, blanked)["log_softmax"]
            falls[row, column] = float(before[0, best] - after[0, best]), after
    row, column = max(falls, key=lambda place: falls[place][0])
    after = falls[row, column][1].exp()
    digit, sure = int(after.argmax()), f"{100 * after.max():.1f}\u00a0% sure."
    text = page.locator("#decides").inner_text()
    assert f"(rows {row} to {row + 3}, columns {column} to {column + 3})" in text
    assert re.search(rf"is (still )?{digit}, {sure}$", text)
    assert ("still" in text) == (digit == best)


def test_a_test_image_opens_inside(page: Page, reproduced: Project) -> None:
    images, labels = mnist.load(reproduced.folder / DATA, "test")
    browser.draw(page, 4)
    example = page.locator("#examples button").last
    number = int((example.get_attribute("title") or "").removeprefix("Test image "))
    example.press("Enter")
    expect(page.locator("#inside")).to_be_focused()
    said = f"Test image {number}, a {labels[number]}, from its pixels to the probabilities."
    expect(page.locator("#subject")).to_have_text(said)
    page.wait_for_function("opened.image.every((v, i) => v === traced[0].values[i])")
    np.testing.assert_array_equal(image_in(page)[0, 0] * 255, images[number, ..., 0])
    page.locator("#pad").focus()  # which alone changes nothing
    browser.settle(page)
    expect(page.locator("#subject")).to_have_text(said)
    browser.draw(page, 4)
    expect(page.locator("#subject")).to_contain_text("Your drawing")
