"""Draw the pictures of digits that docs/model.md classifies: ink or chalk, uneven light, grain.

    python -m tests.support.drawings docs

Writes three pictures of one digit into the folder `digits` there, and one of two digits beside it.
"""

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from tests.support.browser import STROKES, curve

SMOOTH = 4  # each pixel is the average of so many, both ways


class Drawing(NamedTuple):
    """What is drawn, with what, on what."""

    file: str
    digits: Sequence[int]  # from left to right
    ground: tuple[int, int, int]
    ink: tuple[int, int, int]
    width: int  # of a stroke, in percent of a digit's pad
    turn: float  # degrees, to the left


DRAWINGS = [
    Drawing("digits/five.webp", [5], (250, 226, 120), (30, 60, 150), 8, -6),
    Drawing("digits/seven.png", [7], (238, 236, 230), (40, 40, 46), 7, 4),
    Drawing("digits/two.jpg", [2], (38, 66, 52), (228, 230, 222), 10, 8),
    Drawing("forty-two.jpg", [4, 2], (238, 236, 230), (40, 40, 46), 7, 0),
]


def main() -> None:
    parser = ArgumentParser(description="Draw pictures of digits.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for seed, drawing in enumerate(DRAWINGS):
        path = folder / drawing.file
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(drawing, np.random.default_rng(seed)).save(path, quality=85)


def draw(drawing: Drawing, random: np.random.Generator, size: int = 200) -> Image.Image:
    """The drawing, `size` pixels high, each digit on a pad of `size` pixels both ways."""
    pad = SMOOTH * size
    shape = (len(drawing.digits) * pad, pad)
    line = Image.new("L", shape)
    pen = ImageDraw.Draw(line)
    radius = drawing.width * pad / 200
    for place, digit in enumerate(drawing.digits):
        for stroke in STROKES[digit]:
            points = curve(stroke) * pad / 100 + (place * pad, 0)
            pen.line([tuple(point) for point in points], fill=255, width=round(2 * radius))
            for x, y in points:
                pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    line = line.rotate(drawing.turn, Image.Resampling.BICUBIC)
    line = line.resize((shape[0] // SMOOTH, size), Image.Resampling.BOX)
    line = line.filter(ImageFilter.GaussianBlur(0.8))
    share = np.asarray(line)[..., np.newaxis] / 255
    pixels = np.array(drawing.ground) * (1 - share) + np.array(drawing.ink) * share
    light = np.linspace(0.82, 1, pixels.shape[1])[:, np.newaxis]
    grain = 4 * random.standard_normal((*pixels.shape[:2], 1))
    return Image.fromarray((pixels * light + grain).clip(0, 255).round().astype(np.uint8))


if __name__ == "__main__":
    main()
