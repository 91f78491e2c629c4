"""What the images are: their size, colours and classes. The group `images` of params.yaml says it,
and a weights file repeats it. Reading, network, augmentation and pictures follow it."""

from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationInfo, field_validator

from stages.common.params import Params

Images = npt.NDArray[np.uint8]  # (n, height, width, channels); of one channel, 0 is background
Labels = npt.NDArray[np.uint8]  # (n,), from 0

Fraction = Annotated[float, Field(ge=0, le=1)]
Deviation = Annotated[float, Field(gt=0, le=1)]


class ImageFormat(Params):
    """The group `images`. Mean and standard deviation are those of each channel's training pixels,
    scaled to [0, 1]."""

    height: Annotated[int, Field(ge=1, le=1024)]  # pixels
    width: Annotated[int, Field(ge=1, le=1024)]
    channels: Literal[1, 3]  # grey, or red, green and blue
    classes: Annotated[int, Field(ge=2, le=256)]
    mean: list[Fraction]  # a channel
    std: Annotated[list[Deviation], Field(title="standard deviation")]

    @field_validator("mean", "std")
    @classmethod
    def _one_a_channel(cls, values: list[float], info: ValidationInfo) -> list[float]:
        channels = info.data.get("channels", len(values))
        if len(values) != channels:
            raise ValueError(f"must hold a number for each of the channels, {channels}")
        return values

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.height, self.width, self.channels

    def normalise(self, images: Images) -> npt.NDArray[np.float32]:
        """Scale pixels to [0, 1], subtract the mean, divide by the standard deviation: (n, height,
        width, channels) to (n, channels, height, width)."""
        scaled = images.astype(np.float32)
        scaled /= np.float32(255)
        scaled -= np.array(self.mean, np.float32)
        scaled /= np.array(self.std, np.float32)
        return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def mosaic(images: Images, columns: int) -> Images:
    """Images side by side in one, (height, width, channels). It is white where the last row ends
    early: of one channel that is 0, as it is drawn dark on white."""
    n, height, width, channels = images.shape
    rows = -(-n // columns)
    tiles = np.full((rows * columns, height, width, channels), background(channels), np.uint8)
    tiles[:n] = images
    grid = tiles.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, channels)


def background(channels: int) -> int:
    """The value of a white pixel. Grey images are drawn with 0 as white, as digits are written."""
    return 0 if channels == 1 else 255
