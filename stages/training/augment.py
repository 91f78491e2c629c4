"""Augmentation: in each epoch, each training image is rotated, shifted, scaled and sheared anew."""

from collections.abc import Callable
from functools import cache, partial
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from stages.common import mnist
from stages.common.mnist import SIZE
from stages.common.params import Params
from stages.model import numerics


class Limits(Params):
    """The group `train.augment`: the largest change in either direction. With all zeros, images
    stay as they are."""

    degrees: Annotated[float, Field(ge=0, le=180)]  # of rotation
    translate: Annotated[float, Field(ge=0, le=SIZE)]  # pixels
    scale: Annotated[float, Field(ge=0, lt=1)]  # 0.1 is from 0.9 to 1.1 times the size
    shear: Annotated[float, Field(ge=0, lt=90)]  # degrees


class Normalised:
    """Images that are normalised when they are asked for. All of them at once would take four times
    the memory of their pixels, and a good part of the time until the first step."""

    def __init__(self, images: mnist.Images, mean: float, std: float, device: torch.device) -> None:
        """Images (n, 28, 28); mean and standard deviation of all pixels / 255."""
        self._pixels = torch.tensor(images, device=device).unsqueeze(1)  # (n, 1, 28, 28)
        self._mean, self._std = mean, std
        self.device = device

    def __len__(self) -> int:
        """How many there are."""
        return len(self._pixels)

    def __getitem__(self, indices: Tensor) -> Tensor:
        """The images (k, 1, 28, 28) of these indices (k,), with the bits of mnist.normalise."""
        return self._pixels[indices].float().div_(255).sub_(self._mean).div_(self._std)

    def to_pixels(self, images: Tensor) -> mnist.Images:
        """Normalised images (..., 1, 28, 28) as they were, (..., 28, 28) uint8."""
        pixels = 255 * (images.squeeze(-3) * self._std + self._mean)
        return pixels.round().clamp(0, 255).to(torch.uint8).cpu().numpy()


# Indices (k,) to images (k, 1, 28, 28), as the network sees them.
Transform = Callable[[Tensor], Tensor]


def transform(images: Tensor | Normalised, limits: Limits, seed: int, epoch: int) -> Transform:
    """How the network sees the `images`, (n, 1, 28, 28), in an epoch. The change of an image does
    not depend on the other images of its batch."""
    if not any(limits.model_dump().values()):
        return images.__getitem__
    matrices = random_matrices(len(images), limits, numerics.generator(seed, epoch, 1))
    return partial(_transformed, images, matrices.to(images.device))


def random_matrices(n: int, limits: Limits, generator: torch.Generator) -> Tensor:
    """An affine matrix for each of `n` images, (n, 2, 3). It says where in the old image each
    pixel of the new one comes from. A place is (x, y, 1), and x and y go from -1 to 1
    over the image. All changes within the limits are equally likely."""
    within = 2 * torch.rand(5, n, generator=generator) - 1
    angle = torch.deg2rad(limits.degrees * within[0])
    slope = torch.tan(torch.deg2rad(limits.shear * within[1]))
    size = 1 + limits.scale * within[2]
    x, y = limits.translate * 2 / SIZE * within[3:]
    cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
    # A rotation, shrunk, times the shear [[1, slope], [0, 1]].
    rows = [cos, cos * slope - sin, x, sin, sin * slope + cos, y]
    return torch.stack(rows, dim=1).view(n, 2, 3)


def _transformed(images: Tensor | Normalised, matrices: Tensor, indices: Tensor) -> Tensor:
    chosen = images[indices]  # (k, 1, 28, 28)
    # The same as torch.nn.functional.affine_grid in a tenth of its time: one matrix product.
    places = matrices[indices].view(-1, 3) @ _pixels(images.device)
    grid = places.view(-1, 2, SIZE, SIZE).permute(0, 2, 3, 1)  # (k, 28, 28, 2)
    # Places beyond the edge get the edge's value. Zero would be grey, as pixels are normalised.
    return F.grid_sample(chosen, grid, padding_mode="border", align_corners=False)


def before_and_after(
    images: Normalised, indices: Tensor, limits: Limits, seed: int
) -> mnist.Images:
    """Images (2, k, 28, 28): as in the data, and as the network sees them in the first epoch."""
    indices = indices.to(images.device)
    seen = transform(images, limits, seed, epoch=1)(indices)
    return images.to_pixels(torch.stack([images[indices], seen]))


@cache
def _pixels(device: torch.device) -> Tensor:
    """(x, y, 1) of the centre of each pixel, (3, 784), row by row."""
    centres = (2 * torch.arange(SIZE, device=device) + 1) / SIZE - 1
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack([x.flatten(), y.flatten(), torch.ones_like(x).flatten()])
