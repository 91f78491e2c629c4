"""Augmentation: in each epoch, each training image is rotated, shifted, scaled and sheared anew."""

from collections.abc import Callable
from functools import cache, partial
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from stages.common.images import ImageFormat, Images
from stages.common.params import Params
from stages.model import numerics


class Limits(Params):
    """The group `train.augment`: the largest change in either direction. With all zeros, images
    stay as they are."""

    degrees: Annotated[float, Field(ge=0, le=180)]  # of rotation
    translate: Annotated[float, Field(ge=0, le=1024)]  # pixels
    scale: Annotated[float, Field(ge=0, lt=1)]  # 0.1 is from 0.9 to 1.1 times the size
    shear: Annotated[float, Field(ge=0, lt=90)]  # degrees


class Normalised:
    """Images that are normalised when they are asked for. All of them at once would take four times
    the memory of their pixels, and a good part of the time until the first step."""

    def __init__(self, images: Images, expected: ImageFormat, device: torch.device) -> None:
        """Images (n, height, width, channels)."""
        channels_first = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        self._pixels = torch.tensor(channels_first, device=device)  # (n, channels, height, width)
        self._mean, self._std = (
            torch.tensor(values, device=device).view(-1, 1, 1)
            for values in (expected.mean, expected.std)
        )
        self.device = device
        self.height, self.width = expected.height, expected.width

    def __len__(self) -> int:
        """How many there are."""
        return len(self._pixels)

    def __getitem__(self, indices: Tensor) -> Tensor:
        """The images (k, channels, height, width) of these indices (k,), with the bits of
        ImageFormat.normalise."""
        return self._pixels[indices].float().div_(255).sub_(self._mean).div_(self._std)

    def to_pixels(self, images: Tensor) -> Images:
        """Normalised images (..., channels, height, width) as they were, (..., height, width,
        channels) uint8."""
        pixels = 255 * (images * self._std + self._mean).movedim(-3, -1)
        return pixels.round().clamp(0, 255).to(torch.uint8).cpu().numpy()


# Indices (k,) to images (k, channels, height, width), as the network sees them.
Transform = Callable[[Tensor], Tensor]


def transform(images: Normalised, limits: Limits, seed: int, epoch: int) -> Transform:
    """How the network sees the `images` in an epoch. The change of an image does not depend on the
    other images of its batch."""
    if not any(limits.model_dump().values()):
        return images.__getitem__
    generator = numerics.generator(seed, epoch, 1)
    matrices = random_matrices(len(images), limits, images.height, images.width, generator)
    return partial(_transformed, images, matrices.to(images.device))


def random_matrices(
    n: int, limits: Limits, height: int, width: int, generator: torch.Generator
) -> Tensor:
    """An affine matrix for each of `n` images, (n, 2, 3). It says where in the old image each
    pixel of the new one comes from. A place is (x, y, 1), and x and y go from -1 to 1
    over the image. All changes within the limits are equally likely."""
    within = 2 * torch.rand(5, n, generator=generator) - 1
    angle = torch.deg2rad(limits.degrees * within[0])
    slope = torch.tan(torch.deg2rad(limits.shear * within[1]))
    size = 1 + limits.scale * within[2]
    x, y = limits.translate * 2 / width * within[3], limits.translate * 2 / height * within[4]
    cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
    # A rotation, shrunk, times the shear [[1, slope], [0, 1]].
    # In pixels; from the one axis to the other, a step has another length if the sides differ.
    tall = height / width
    rows = [cos, (cos * slope - sin) * tall, x, sin / tall, sin * slope + cos, y]
    return torch.stack(rows, dim=1).view(n, 2, 3)


def _transformed(images: Normalised, matrices: Tensor, indices: Tensor) -> Tensor:
    chosen = images[indices]  # (k, channels, height, width)
    # The same as torch.nn.functional.affine_grid in a tenth of its time: one matrix product.
    height, width = chosen.shape[-2:]
    places = matrices[indices].view(-1, 3) @ _pixels(height, width, images.device)
    grid = places.view(-1, 2, height, width).permute(0, 2, 3, 1)  # (k, height, width, 2)
    # Places beyond the edge get the edge's value. Zero would be grey, as pixels are normalised.
    return F.grid_sample(chosen, grid, padding_mode="border", align_corners=False)


def before_and_after(images: Normalised, indices: Tensor, limits: Limits, seed: int) -> Images:
    """Images (2, k, height, width, channels): as in the data, and as the network sees them in the
    first epoch."""
    indices = indices.to(images.device)
    seen = transform(images, limits, seed, epoch=1)(indices)
    return images.to_pixels(torch.stack([images[indices], seen]))


@cache
def _pixels(height: int, width: int, device: torch.device) -> Tensor:
    """(x, y, 1) of the centre of each pixel, (3, height * width), row by row."""
    rows, columns = ((2 * torch.arange(n, device=device) + 1) / n - 1 for n in (height, width))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x.flatten(), y.flatten(), torch.ones_like(x).flatten()])
