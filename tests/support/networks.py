"""A network of the layers that the project's own one does not have."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from stages.common.images import ImageFormat
from stages.model import network
from stages.model.network import Network, NetworkConfig


def layers(_: NetworkConfig, __: ImageFormat) -> dict[str, nn.Module]:
    """In place of `network.layers`. Training changes what some of them compute."""
    block = {
        "conv": nn.Conv2d(1, 4, 3, padding=1, bias=False),
        "norm": nn.BatchNorm2d(4, eps=0.01),
        "relu": nn.ReLU(),
    }
    return {
        "block": nn.Sequential(OrderedDict(block)),
        "drop1": nn.Dropout2d(0.5),
        "pool": nn.MaxPool2d(4),
        "flatten": nn.Flatten(),
        "drop2": nn.Dropout(0.5),
        "fc": nn.Linear(4 * 7 * 7, 10, bias=False),
        "log_softmax": nn.LogSoftmax(dim=1),
    }


def unusual(config: NetworkConfig, images: ImageFormat) -> Network:
    """Such a network, in eval mode, as if it had been trained."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "layers", layers)
        made = Network(config, images)
    random = torch.Generator().manual_seed(3)
    for name, tensor in made.state_dict().items():
        if name.startswith("block.norm"):  # it begins as the identity, which could be left out
            tensor.copy_(1 + torch.rand(tensor.shape, generator=random))
    return made.eval().requires_grad_(False)
