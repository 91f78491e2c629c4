"""The convolutional network, as a list of layers.

The list is the only place that says what the network is. Training and scoring run its layers, and
tools/operators.py translates them, for ONNX and for the web page.
"""

from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from stages.common.errors import UserError
from stages.common.images import ImageFormat
from stages.common.params import Params


class NetworkConfig(Params):
    """The group `model` of params.yaml, and the description that travels inside a weights file."""

    conv1_filters: Annotated[int, Field(ge=1, le=1024)]
    conv2_filters: Annotated[int, Field(ge=1, le=1024)]
    kernel_size: Annotated[int, Field(ge=1, le=9)]  # pixels; 9 leaves one pixel after two poolings
    hidden_units: Annotated[int, Field(ge=1, le=65536)]


def layers(config: NetworkConfig, images: ImageFormat) -> dict[str, nn.Module]:
    """The layers by name, in order, from images (n, 1, 28, 28) to log probabilities (n, 10). The
    names of those with weights are the names in a weights file: `conv1.weight` and so on.

    Why does `fc1` take 320 numbers, with the default parameters? A 5x5 filter fits into 28 pixels
    at 28 - 5 + 1 = 24 places, and pooling 2x2 halves that: 28 -> 24 -> 12. The second convolution
    and pooling give 12 -> 8 -> 4. So 20 filters leave 20 maps of 4x4, and each of their
    20 * 4 * 4 = 320 numbers is connected to every unit of the fully connected layer.
    """
    convolutions = {
        "conv1": nn.Conv2d(images.channels, config.conv1_filters, config.kernel_size),
        "pool1": nn.MaxPool2d(2),  # (n, 10, 24, 24) to (n, 10, 12, 12)
        "relu1": nn.ReLU(),
        "conv2": nn.Conv2d(config.conv1_filters, config.conv2_filters, config.kernel_size),
        "pool2": nn.MaxPool2d(2),  # (n, 20, 4, 4)
        "relu2": nn.ReLU(),
        "flatten": nn.Flatten(),  # (n, 320)
    }
    fully_connected = {
        "fc1": nn.Linear(count_features(convolutions, images), config.hidden_units),
        "relu3": nn.ReLU(),
        "fc2": nn.Linear(config.hidden_units, images.classes),  # (n, 10)
        "log_softmax": nn.LogSoftmax(dim=1),
    }
    return convolutions | fully_connected


def count_features(convolutions: Mapping[str, nn.Module], images: ImageFormat) -> int:
    """How many numbers these layers make of an image: 320 by default.

    Raises:
        UserError: the image is too small for them.
    """
    height, width, channels = images.shape
    chain = nn.Sequential(*convolutions.values()).eval()  # some layers count images in training
    try:
        with torch.no_grad():
            numbers: Tensor = chain(torch.zeros(1, channels, height, width))
    except RuntimeError as error:
        raise UserError(
            f"the layers of stages/model/network.py do not fit images of {height}x{width}: {error}"
        ) from None
    chain.train()
    return numbers.numel()


class Network(nn.Sequential):
    """Images (n, channels, height, width), normalised, to log probabilities (n, classes)."""

    def __init__(self, config: NetworkConfig, images: ImageFormat) -> None:
        super().__init__()
        self.config, self.images = config, images
        for name, layer in layers(config, images).items():
            self.add_module(name, layer)
        # The same numbers in another order in memory, a third faster on a CPU.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
