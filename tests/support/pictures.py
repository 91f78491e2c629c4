"""MNIST's images as people's pictures might show them."""

from collections.abc import Callable
from itertools import product

import numpy as np
import numpy.typing as npt
from PIL import Image

from stages.common import mnist
from tools.prepare import Grey, prepare

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]  # (height, width) or (height, width, 3)


def enlarged(image: Grey, _: np.random.Generator) -> Pixels:
    return resized(image, 5)


def inverted(image: Grey, random: np.random.Generator) -> Pixels:
    return 255 - enlarged(image, random)


def inverted_small(image: Grey, _: np.random.Generator) -> Pixels:
    return 255 - image


def shifted(image: Grey, random: np.random.Generator) -> Pixels:
    field = np.zeros((150, 180), np.uint8)
    top, left = random.integers((10, 40), endpoint=True)
    field[top : top + 140, left : left + 140] = enlarged(image, random)
    return field


def coloured(image: Grey, random: np.random.Generator) -> Pixels:
    """Any ink on any ground that differ by at least 100 of 255 in red, green or blue."""
    ground, ink = random.integers(0, 256, (2, 3))
    while np.abs(ground - ink).max() < 100:
        ground, ink = random.integers(0, 256, (2, 3))
    palette = np.linspace(ground, ink, 256).round().astype(np.uint8)  # (256, 3)
    return palette.take(enlarged(image, random), axis=0)


def noisy(image: Grey, random: np.random.Generator) -> Pixels:
    return noise(enlarged(image, random), random)


def everything(image: Grey, random: np.random.Generator) -> Pixels:
    """Dark on light, shifted, lit from one side, and with noise."""
    light = np.linspace(0.8, 1, 180, dtype=np.float32)
    return noise((230 - shifted(image, random) * np.float32(0.65)) * light, random)


def noise(pixels: npt.NDArray[np.uint8 | np.float32], random: np.random.Generator) -> Pixels:
    """A tenth of the range, added to each pixel by itself."""
    noisy = pixels + 25 * random.standard_normal(pixels.shape, np.float32)
    return noisy.clip(0, 255).round().astype(np.uint8)


def difference(image: Floats, other: Grey) -> Floats:
    """The absolute difference of two images (28, 28). One of them may first be moved by a pixel,
    since a centre of mass that is almost between two pixels is rounded up or down."""
    shifts = product((-1, 0, 1), repeat=2)
    differences = [np.abs(np.roll(image, shift, axis=(0, 1)) - other) for shift in shifts]
    return min(differences, key=np.mean)


def side_by_side(left: Grey, right: Grey, gap: int) -> Grey:
    """Two digits with `gap` columns between their boxes, their middles on one line. With a gap
    below zero, the boxes overlap by so many columns, at most the narrower one's."""
    left, right = cut_out(left), cut_out(right)
    edge = 10  # pixels of ground around both
    height = max(len(left), len(right)) + 2 * edge
    start = edge + left.shape[1] + gap
    field = np.zeros((height, start + right.shape[1] + edge), np.uint8)
    for digit, x in ((left, edge), (right, start)):
        y = (height - len(digit)) // 2
        place = field[y : y + len(digit), x : x + digit.shape[1]]
        np.maximum(place, digit, out=place)
    return field


def cut_out(image: Grey) -> Grey:
    """The box around the ink."""
    picture = Image.fromarray(image)
    return np.asarray(picture.crop(picture.getbbox()))


def resized(image: Grey, factor: float) -> Grey:
    height, width = (max(1, round(factor * length)) for length in image.shape)
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


VARIANTS: dict[str, Callable[[Grey, np.random.Generator], Pixels]] = {
    "enlarged to 140 pixels": enlarged,
    "inverted": inverted,
    "inverted, 28 pixels": inverted_small,
    "shifted": shifted,
    "coloured ink and ground": coloured,
    "noise": noisy,
    "all of these at once": everything,
}


def seen(variant: str, images: mnist.Images, seed: int) -> mnist.Images:
    """What `prepare` makes of the variant of each image, (n, 28, 28)."""
    random = np.random.default_rng(seed)
    make = VARIANTS[variant]
    return np.stack([prepare(Image.fromarray(make(image, random))).image for image in images])
