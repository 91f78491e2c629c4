"""The titles and the images in a figure that `image_grid` of stages/plot.py drew."""

import numpy as np
from matplotlib.figure import Figure

from stages.common.images import Images

SIZE = 28


def titles(figure: Figure) -> list[str]:
    """The title of each image."""
    (axes,) = figure.axes
    return [text.get_text() for text in axes.texts]


def images(figure: Figure) -> Images:
    """The images below their titles, (n, 28, 28)."""
    (axes,) = figure.axes
    picture = np.asarray(axes.images[0].get_array())
    shown = []
    for text in axes.texts:
        middle, bottom = text.get_position()
        left, top = int(middle) - SIZE // 2, int(bottom) + 1
        shown.append(picture[top : top + SIZE, left : left + SIZE])
    return np.array(shown)
