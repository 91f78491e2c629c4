"""Make of any picture of a digit what MNIST would have made of it: 28x28 pixels, ink on black.

MNIST's digits were scaled to fit into 20x20 pixels, keeping their shape, with grey edges where a
pixel is partly ink, and placed so that their centre of mass is the centre of 28x28 pixels.
Source: LeCun, Cortes and Burges, "The MNIST database". Where that leaves a choice (what is ink?),
training images decided: docs/decisions/0008-any-picture.md.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops
from scipy import ndimage

from stages.common.errors import UserError
from stages.common.mnist import SIZE

Grey = npt.NDArray[np.uint8]  # (height, width): 0 is ground, 255 is ink

LARGEST = 1000  # pixels: a larger picture is made this small, by averages
FAINTEST = 25  # of 255: with less contrast than this, nothing is drawn
LEAST = 1 / 3  # of the greatest contrast: a lower threshold could lie in the noise of the ground
EDGE = (0.75, 1.25)  # of the threshold: up to the first is ground, from the second on is ink
SPECK = 0.05  # of the largest part's area: what is smaller is dust
BOX = 20  # pixels: the longer side of a digit in MNIST


def prepare(picture: Image.Image) -> Grey:
    """What the network is to see, (28, 28). A grey picture of 28x28 pixels on black is as MNIST's
    are, and is taken as it is.

    Raises:
        UserError: nothing is drawn.
    """
    picture = flatten(picture)
    red, green, blue = picture.split()
    if picture.size == (SIZE, SIZE) and red == green == blue and ground(picture) == (0, 0, 0):
        return np.asarray(red)
    return centre(fit(clean(ink(contrast(picture)))))


def flatten(picture: Image.Image) -> Image.Image:
    """Red, green and blue, at most `LARGEST` pixels wide and high. What is transparent is white,
    or black where that shows more, as behind white ink."""
    if picture.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
        picture = Image.fromarray((np.asarray(picture) // 256).astype(np.uint8))
    picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    picture.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    if picture.mode == "RGB":
        return picture
    papers = [Image.new("RGBA", picture.size, colour) for colour in ("white", "black")]
    flat = [Image.alpha_composite(paper, picture).convert("RGB") for paper in papers]
    return max(flat, key=lambda page: contrast(page).max())


def ground(picture: Image.Image) -> tuple[int, ...]:
    """The colour of the paper: the median of the outermost pixels."""
    pixels = np.asarray(picture)
    edges = [pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]]
    return tuple(np.median(np.concatenate(edges), axis=0).astype(int).tolist())


def contrast(picture: Image.Image) -> Grey:
    """How far each pixel is from the ground, in the colour where it is farthest. Light on dark
    and dark on light are then the same."""
    paper = Image.new("RGB", picture.size, ground(picture))
    red, green, blue = ImageChops.difference(picture, paper).split()
    return np.asarray(ImageChops.lighter(red, ImageChops.lighter(green, blue)))


def ink(distance: Grey) -> Grey:
    """The ink in each pixel, from its contrast: none below a threshold, full above, and a short
    ramp between, which keeps the grey edges of a small picture.

    Raises:
        UserError: nothing is drawn.
    """
    greatest = int(distance.max())
    if greatest < FAINTEST:
        raise UserError("nothing is drawn on it")
    threshold = max(otsu(distance), LEAST * greatest)
    low, high = EDGE
    share = (np.arange(256) / threshold - low) / (high - low)
    return (255 * share.clip(0, 1)).round().astype(np.uint8)[distance]


def otsu(values: Grey) -> int:
    """The threshold that cuts the values into two groups whose means differ most, for their sizes.
    Source: Otsu, "A threshold selection method from gray-level histograms", 1979."""
    histogram = np.bincount(values.ravel(), minlength=256)
    below = histogram.cumsum()[:-1]  # how many values are at most 0, 1, ... 254
    total = (histogram * np.arange(256)).cumsum()
    mean = total[-1] / values.size
    between = (mean * below - total[:-1]) ** 2 / (below * (values.size - below)).clip(1)
    return int(between.argmax())


def clean(drawn: Grey) -> Grey:
    """The ink without dust: without the small parts (a part is connected, corners count)."""
    parts, _ = ndimage.label(drawn, structure=np.ones((3, 3)))
    area = np.bincount(parts.ravel())
    area[0] = 0  # this is the ground
    return np.where((area >= SPECK * area.max())[parts], drawn, 0).astype(np.uint8)


def fit(drawn: Grey) -> Grey:
    """The box around all ink, its longer side scaled to 20 pixels. Each new pixel is the average
    of those that it covers, and the darkest is full ink, as in MNIST."""
    picture = Image.fromarray(drawn)
    box = picture.getbbox() or (0, 0, *picture.size)
    width, height = box[2] - box[0], box[3] - box[1]
    scale = BOX / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    digit = np.asarray(picture.resize(size, Image.Resampling.BOX, box), np.float64)
    darkened: Grey = (digit * 255 / digit.max()).round().astype(np.uint8)
    return darkened


def centre(digit: Grey) -> Grey:
    """The digit on 28x28 pixels, its centre of mass at pixel 14 both ways, where it is in MNIST
    (measured: 14 and half a pixel more or less, counted from 0)."""
    top, left = (
        min(max(0, round(SIZE / 2 - mass)), SIZE - length)
        for mass, length in zip(ndimage.center_of_mass(digit), digit.shape, strict=True)
    )
    field = np.zeros((SIZE, SIZE), np.uint8)
    field[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return field
