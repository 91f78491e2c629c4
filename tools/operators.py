"""The network as a list of ONNX operators: the one translation of its layers.

tools/export.py makes an ONNX graph of the list. The web page embeds it as JSON, and
tools/page/network.js computes the same operators. A kind of layer that is new to the network
needs a case here, and its operator in network.js if that lacks it.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import nn

from stages.common.errors import UserError
from stages.model.network import Network


class Operator(NamedTuple):
    """One operator. Its input is the output of the one before it, and its constants."""

    kind: str  # as ONNX names it
    constants: list[str]  # the names of its tensors
    attributes: dict[str, Any]  # as ONNX names them


def operators(network: Network) -> list[Operator]:
    """What the network computes of images (n, 1, 28, 28) with pixels from 0 (ground) to 1 (ink):
    the normalisation, then each layer.

    Raises:
        UserError: a layer is of an unknown kind, or has a setting that has no translation.
    """
    normalisation = [Operator("Sub", ["mean"], {}), Operator("Div", ["std"], {})]
    layers = [
        translate(name, layer)
        for name, layer in network.named_children()
        if not isinstance(layer, nn.Dropout)  # it does nothing outside of training
    ]
    return normalisation + layers


def constants(network: Network) -> dict[str, npt.NDArray[np.float32]]:
    """The tensors that the operators name: the weights, and the numbers of the normalisation."""
    normalisation = {name: [getattr(network.config, name)] for name in ("mean", "std")}
    return {
        **{name: np.array(value, np.float32) for name, value in normalisation.items()},
        **{name: tensor.numpy() for name, tensor in network.state_dict().items()},
    }


def translate(name: str, layer: nn.Module) -> Operator:
    """The operator of one layer."""
    tensors = [f"{name}.{tensor}" for tensor, _ in layer.named_parameters()]
    match layer:
        case nn.Conv2d(groups=1, dilation=(1, 1), padding_mode="zeros", padding=(top, left)):
            attributes = {"strides": list(layer.stride), "pads": 2 * [top, left]}
            return Operator("Conv", tensors, attributes)
        case nn.MaxPool2d(padding=0, dilation=1, ceil_mode=False):
            attributes = {"kernel_shape": pair(layer.kernel_size), "strides": pair(layer.stride)}
            return Operator("MaxPool", tensors, attributes)
        case nn.ReLU():
            return Operator("Relu", tensors, {})
        case nn.Flatten(start_dim=1, end_dim=-1):
            return Operator("Flatten", tensors, {"axis": 1})
        case nn.Linear():
            return Operator("Gemm", tensors, {"transB": 1})
        case nn.LogSoftmax(dim=1):
            return Operator("LogSoftmax", tensors, {"axis": 1})
    raise UserError(
        f"stages/model/network.py: {name}: {layer} has no ONNX operator; add one to"
        " `translate` in tools/operators.py and, if it is new, to tools/page/network.js"
    )


def pair(size: int | tuple[int, ...]) -> list[int]:
    """A size both ways, which PyTorch lets one number stand for."""
    return [size, size] if isinstance(size, int) else list(size)
