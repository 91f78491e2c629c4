"""MNIST's images as people's pictures might show them."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image

from stages.common import mnist
from tools.prepare import Grey, prepare

Pixels = npt.NDArray[np.float64]  # (height, width) or (height, width, 3), 0 to 255


def enlarged(image: Grey, _: np.random.Generator) -> Pixels:
    return np.asarray(Image.fromarray(image).resize((280, 280), Image.Resampling.BICUBIC), float)


def inverted(image: Grey, random: np.random.Generator) -> Pixels:
    return 255 - enlarged(image, random)


def inverted_small(image: Grey, _: np.random.Generator) -> Pixels:
    return 255 - image.astype(float)


def shifted(image: Grey, random: np.random.Generator) -> Pixels:
    field = np.zeros((300, 360))
    top, left = random.integers((20, 80), endpoint=True)
    field[top : top + 280, left : left + 280] = enlarged(image, random)
    return field


def coloured(image: Grey, random: np.random.Generator) -> Pixels:
    """Any ink on any ground that differ by at least 100 of 255 in red, green or blue."""
    ground, ink = random.integers(0, 256, (2, 3))
    while np.abs(ground - ink).max() < 100:
        ground, ink = random.integers(0, 256, (2, 3))
    share = enlarged(image, random)[..., np.newaxis] / 255
    pixels: Pixels = ground + share * (ink - ground)
    return pixels


def noisy(image: Grey, random: np.random.Generator) -> Pixels:
    return noise(enlarged(image, random), random)


def everything(image: Grey, random: np.random.Generator) -> Pixels:
    """Dark on light, shifted, lit from one side, and with noise."""
    light = np.linspace(0.8, 1, 360)
    return noise((230 - shifted(image, random) * 0.65) * light, random)


def noise(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """A tenth of the range, added to each pixel by itself."""
    return pixels + 25 * random.standard_normal(pixels.shape, np.float32)


VARIANTS: dict[str, Callable[[Grey, np.random.Generator], Pixels]] = {
    "enlarged to 280 pixels": enlarged,
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
    return np.stack([prepare(picture(make(image, random))) for image in images])


def picture(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8))
