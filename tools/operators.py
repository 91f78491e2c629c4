"""The network as a list of ONNX operators: the one translation of its layers.

tools/export.py makes an ONNX graph of the list. The web page embeds it as JSON, and
tools/page/network.js computes the same operators. A kind of layer that is new to the network
needs a case here, and its operator in network.js if that lacks it.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import nn

from stages.common.errors import UserError
from stages.model.network import Network


class Operator(NamedTuple):
    """One operator. Its input is the output of the one before it, and its constants."""

    layer: str  # its name in stages/model/network.py
    kind: str  # as ONNX names it
    constants: list[str]  # the names of its tensors
    attributes: dict[str, Any]  # as ONNX names them


def operators(network: Network) -> list[Operator]:
    """What the network computes of images (n, channels, height, width) with pixels from 0 to 1: the
    normalisation, then each layer.

    Raises:
        UserError: a layer is of an unknown kind, or has a setting that has no translation.
    """
    normalisation = [
        Operator("centred", "Sub", ["mean"], {}),
        Operator("normalised", "Div", ["std"], {}),
    ]
    return normalisation + [
        translate(name, layer)
        for name, layer in layers(network)
        if not isinstance(layer, nn.Dropout | nn.Dropout2d)  # they do nothing outside of training
    ]


def layers(network: nn.Sequential) -> Iterator[tuple[str, nn.Module]]:
    """The layers in order by name; `block.conv1` is inside of a Sequential."""
    for name, layer in network.named_children():
        if type(layer) is nn.Sequential:
            yield from ((f"{name}.{inner}", its) for inner, its in layers(layer))
        else:
            yield name, layer


def constants(network: Network) -> dict[str, npt.NDArray[np.float32]]:
    """The tensors that the operators name: the weights, and the numbers of the normalisation."""
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    for name in ("mean", "std"):
        values = np.array(getattr(network.images, name), np.float32)
        tensors[name] = values.reshape(-1, 1, 1)  # one a channel
    return {name: tensors[name] for operator in operators(network) for name in operator.constants}


def translate(name: str, layer: nn.Module) -> Operator:
    """The operator of one layer, as it computes outside of training."""
    # In ONNX's order, for every kind. BatchNorm2d also has a count of batches, which is no float.
    tensors = [f"{name}.{key}" for key, t in layer.state_dict().items() if t.is_floating_point()]
    attributes: dict[str, Any] = {}
    match layer:
        case nn.Conv2d(groups=1, dilation=(1, 1), padding_mode="zeros", padding=(top, left)):
            kind = "Conv"
            attributes = {"strides": list(layer.stride), "pads": 2 * [top, left]}
        case nn.MaxPool2d(padding=0, dilation=1, ceil_mode=False):
            kind = "MaxPool"
            attributes = {"kernel_shape": pair(layer.kernel_size), "strides": pair(layer.stride)}
        case nn.BatchNorm2d(affine=True, track_running_stats=True):
            kind = "BatchNormalization"
            attributes = {"epsilon": layer.eps}
        case nn.ReLU():
            kind = "Relu"
        case nn.Flatten(start_dim=1, end_dim=-1):
            kind = "Flatten"
            attributes = {"axis": 1}
        case nn.Linear():
            kind = "Gemm"
            attributes = {"transB": 1}
        case nn.LogSoftmax(dim=1):
            kind = "LogSoftmax"
            attributes = {"axis": 1}
        case _:
            raise UserError(
                f"stages/model/network.py: {name}: {layer} has no ONNX operator; add one to"
                " `translate` in tools/operators.py and, if it is new, to tools/page/network.js"
            )
    return Operator(name, kind, tensors, attributes)


def pair(size: int | tuple[int, ...]) -> list[int]:
    """A size both ways, which PyTorch lets one number stand for."""
    return [size, size] if isinstance(size, int) else list(size)
