"""Make an image for the network of any picture of a digit, as MNIST's authors made theirs.

MNIST's digits were scaled to fit into 20x20 pixels, keeping their shape. Edges are grey where a
pixel is partly ink. The digit's centre of mass is the centre of 28x28 pixels. In images of another
size the digit has the same share. A network for colour gets the picture as it is, scaled and cut.
Source: LeCun, Cortes and Burges, "The MNIST database". What is ink, and what is more than one
digit, was chosen on training images: docs/decisions/0008-any-picture.md.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageOps
from scipy import ndimage

from stages.common.errors import UserError

Grey = npt.NDArray[np.uint8]  # (height, width): 0 is ground, 255 is ink
Box = tuple[slice, ...]  # rows, columns

MAX_SIDE = 1000  # pixels: a larger picture is made this small, by averages
MIN_CONTRAST = 25  # of 255: with less contrast than this, nothing is drawn
MIN_THRESHOLD = 1 / 3  # of the greatest contrast: a lower one could lie in the ground's noise
EDGE = (0.75, 1.25)  # of the threshold: up to the first is ground, from the second on is ink
MIN_AREA = 0.05  # of the largest part's area: smaller parts are dust
MIN_HEIGHT = 0.5  # of the highest part's: lower parts are pieces of a digit, such as the bar of a 5
MIDDLE = (0.25, 0.75)  # of a part's width: where two digits side by side do not overlap
MNIST = (28, 28, 1)  # height, width, channels
BOX = 20  # pixels of 28: the longer side of a digit in MNIST


class Prepared(NamedTuple):
    """What `prepare` makes of a picture."""

    image: Grey  # (height, width), or (height, width, 3) in colour
    several: bool  # it looks like more than one digit


def prepare(picture: Image.Image, images: tuple[int, int, int] = MNIST) -> Prepared:
    """The image for a network that takes such `images` (height, width, channels), and whether the
    picture looks like more than one digit. A grey picture of that size on black is taken as it is,
    since MNIST's images are such pictures.

    Raises:
        UserError: nothing is drawn.
    """
    shape, picture = images[:2], flatten(picture)
    if images[2] > 1:
        return Prepared(np.asarray(ImageOps.fit(picture, shape[::-1])), several=False)
    drawn, boxes = clean(ink(contrast(picture)))
    if is_like_mnist(picture, shape):
        return Prepared(np.asarray(picture.getchannel("R")), are_several(boxes))
    return Prepared(centre(fit(drawn, BOX * min(shape) / MNIST[0]), shape), are_several(boxes))


def is_like_mnist(picture: Image.Image, shape: tuple[int, int]) -> bool:
    """Whether the picture (RGB) has this height and width, no colours, and a black ground."""
    red, green, blue = picture.split()
    return picture.size == shape[::-1] and red == green == blue and ground(picture) == (0, 0, 0)


def flatten(picture: Image.Image) -> Image.Image:
    """Red, green and blue, at most `MAX_SIDE` pixels wide and high. What is transparent is white,
    or black where that shows more, as behind white ink."""
    if picture.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
        picture = Image.fromarray((np.asarray(picture) // 256).astype(np.uint8))
    picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BOX)
    if picture.mode == "RGB":
        return picture
    papers = [Image.new("RGBA", picture.size, colour) for colour in ("white", "black")]
    flat = [Image.alpha_composite(paper, picture).convert("RGB") for paper in papers]
    return max(flat, key=lambda page: greatest(contrast(page)))


def ground(picture: Image.Image) -> tuple[int, ...]:
    """The colour of the paper: the median of the outermost pixels."""
    pixels = np.asarray(picture)
    edges = [pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]]
    return tuple(np.median(np.concatenate(edges), axis=0).astype(int).tolist())


def contrast(picture: Image.Image) -> Image.Image:
    """How far each pixel is from the ground, in the colour where it is farthest: 0 to 255. Light
    on dark and dark on light are then the same."""
    paper = Image.new("RGB", picture.size, ground(picture))
    red, green, blue = ImageChops.difference(picture, paper).split()
    return ImageChops.lighter(red, ImageChops.lighter(green, blue))


def greatest(distances: Image.Image) -> int:
    """The greatest of the distances, 0 to 255."""
    return int(np.asarray(distances).max())


def ink(distances: Image.Image) -> Grey:
    """The ink in each pixel, from its contrast: none below a threshold, full above, and a short
    ramp between. The ramp keeps the grey edges of a small picture.

    Raises:
        UserError: nothing is drawn.
    """
    most = greatest(distances)
    if most < MIN_CONTRAST:
        raise UserError("nothing is drawn on it")
    threshold = max(otsu(distances.histogram()), MIN_THRESHOLD * most)
    low, high = EDGE
    share = (np.arange(256) / threshold - low) / (high - low)
    ramp = (255 * share.clip(0, 1)).round().astype(np.uint8)
    return np.asarray(distances.point(ramp.tolist()))


def otsu(histogram: Sequence[int]) -> int:
    """The threshold that cuts values into two groups whose means differ most, for their sizes.
    `histogram` says how many values are 0, 1, ... 255.
    Source: Otsu, "A threshold selection method from gray-level histograms", 1979."""
    n = sum(histogram)
    below = np.cumsum(histogram)[:-1]  # how many values are at most 0, 1, ... 254
    total = np.cumsum(histogram * np.arange(256))
    mean = total[-1] / n
    between = (mean * below - total[:-1]) ** 2 / (below * (n - below)).clip(1)
    return int(between.argmax())


def clean(drawn: Grey) -> tuple[Grey, list[Box]]:
    """The ink without dust, and the box around each part of it. A part is connected ink (pixels
    that touch at a corner are connected); dust is parts that are small beside the largest."""
    parts, _ = ndimage.label(drawn, structure=np.ones((3, 3)))  # 0 is the ground
    area = np.bincount(parts.ravel())
    area[0] = 0
    large = area >= MIN_AREA * area.max()
    boxes = [box for box, kept in zip(ndimage.find_objects(parts), large[1:], strict=True) if kept]
    return drawn * large.take(parts), boxes


def are_several(boxes: Sequence[Box]) -> bool:
    """Whether parts stand side by side as digits do: both are high, and the middle halves of
    their widths do not overlap. Digits that touch are one part, and are not told apart."""
    spans = [(rows.stop - rows.start, columns.start, columns.stop) for rows, columns in boxes]
    height, left, right = np.array(spans).T
    high = height >= MIN_HEIGHT * height.max()
    start, end = (left + share * (right - left) for share in MIDDLE)
    return bool(start[high].max() >= end[high].min())


def fit(drawn: Grey, longer: float) -> Grey:
    """The box around all ink, its longer side scaled to so many pixels. Each new pixel is the
    average of those that it covers, and the darkest is full ink, as in MNIST."""
    picture = Image.fromarray(drawn)
    box = picture.getbbox() or (0, 0, *picture.size)
    width, height = box[2] - box[0], box[3] - box[1]
    scale = longer / max(width, height)
    size = (max(1, nearest(width * scale)), max(1, nearest(height * scale)))
    digit = np.asarray(picture.resize(size, Image.Resampling.BOX, box), np.float64)
    darkened: Grey = (digit * 255 / digit.max()).round().astype(np.uint8)
    return darkened


def centre(digit: Grey, shape: tuple[int, int]) -> Grey:
    """The digit on an image of this height and width, its centre of mass in the middle: at pixel 14
    of 28, counted from 0. There it is in MNIST, too (measured: half a pixel more or less)."""
    top, left = (
        min(max(0, nearest(room / 2 - mass)), room - length)
        for mass, length, room in zip(
            ndimage.center_of_mass(digit), digit.shape, shape, strict=True
        )
    )
    field = np.zeros(shape, np.uint8)
    field[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return field


def nearest(number: float) -> int:
    """The nearest whole number. Halves go up, as in prepare.js; Python's `round` takes the even."""
    return math.floor(number + 0.5)
