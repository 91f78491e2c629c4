"""The convolutional network: two convolutions, two fully connected layers."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from stages.common.mnist import CLASSES, SIZE
from stages.common.params import Params


class NetworkConfig(Params):
    """The group `model` of params.yaml, and the description that travels inside a weights file."""

    conv1_filters: Annotated[int, Field(ge=1, le=1024)]
    conv2_filters: Annotated[int, Field(ge=1, le=1024)]
    kernel_size: Annotated[int, Field(ge=1, le=9)]  # pixels; 9 leaves one pixel after two poolings
    hidden_units: Annotated[int, Field(ge=1, le=65536)]
    mean: Annotated[float, Field(ge=0, le=1)]  # of all pixels, scaled to [0, 1]
    std: Annotated[float, Field(gt=0, le=1, title="standard deviation")]

    def flat_features(self) -> int:
        """How many numbers the second pooling leaves for an image: 320 by default."""
        side = SIZE
        for _ in range(2):
            side = (side - self.kernel_size + 1) // 2
        return self.conv2_filters * side * side


class Network(nn.Module):
    """Images (n, 1, 28, 28), normalised, to log probabilities (n, 10)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.conv1 = nn.Conv2d(1, config.conv1_filters, config.kernel_size)
        self.conv2 = nn.Conv2d(config.conv1_filters, config.conv2_filters, config.kernel_size)
        self.fc1 = nn.Linear(config.flat_features(), config.hidden_units)
        self.fc2 = nn.Linear(config.hidden_units, CLASSES)
        # The same numbers in another order in memory, a third faster on a CPU.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """Why does `fc1` take 320 numbers, with the default parameters? A 5x5 filter fits into 28
        pixels at 28 - 5 + 1 = 24 places, and pooling 2x2 halves that: 28 -> 24 -> 12. The second
        convolution and pooling give 12 -> 8 -> 4. So 20 filters leave 20 maps of 4x4, and each
        of their 20 * 4 * 4 = 320 numbers is connected to every unit of the fully connected layer.
        """
        x = F.relu(F.max_pool2d(self.conv1(x), 2))  # (n, 1, 28, 28) to (n, 10, 12, 12)
        x = F.relu(F.max_pool2d(self.conv2(x), 2))  # to (n, 20, 4, 4)
        x = F.relu(self.fc1(x.flatten(1)))  # (n, 320) to (n, 50)
        return F.log_softmax(self.fc2(x), dim=1)  # (n, 10)
