import re

import pytest
from torch import nn

from stages.common.errors import UserError
from stages.model.network import Network, NetworkConfig
from tests.support.runner import ROOT
from tools import operators


def test_the_network_is_a_row_of_operators(config: NetworkConfig) -> None:
    listed = operators.operators(Network(config))
    assert [operator.kind for operator in listed] == [
        "Sub", "Div", "Conv", "MaxPool", "Relu", "Conv", "MaxPool", "Relu", "Flatten", "Gemm",
        "Relu", "Gemm", "LogSoftmax",
    ]  # fmt: skip
    assert listed[2].constants == ["conv1.weight", "conv1.bias"]
    assert listed[3].attributes == {"kernel_shape": [2, 2], "strides": [2, 2]}


def test_every_constant_is_there(config: NetworkConfig) -> None:
    network = Network(config).requires_grad_(False)
    named = {name for operator in operators.operators(network) for name in operator.constants}
    assert named == operators.constants(network).keys()


@pytest.mark.parametrize(
    "layer",
    [
        nn.GELU(),
        nn.Conv2d(2, 2, 3, groups=2),
        nn.Conv2d(2, 2, 3, dilation=2),
        nn.Conv2d(2, 2, 3, padding="same"),
        nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"),
        nn.MaxPool2d(2, padding=1),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.LogSoftmax(dim=0),
    ],
)
def test_a_layer_without_translation_is_named(layer: nn.Module) -> None:
    with pytest.raises(UserError) as error:
        operators.translate("extra", layer)
    assert str(error.value).startswith(f"stages/model/network.py: extra: {layer} has no ONNX")
    assert "tools/operators.py" in str(error.value)


def test_the_page_knows_every_operator() -> None:
    """A kind that only one of the two knows would be seen only when a network has such a layer."""
    script = (ROOT / "tools/page/network.js").read_text(encoding="utf-8")
    table = script[script.index("const OPERATORS = {") :]
    known = set(re.findall(r"^  (\w+):", table[: table.index("};")], re.MULTILINE))
    source = (ROOT / "tools/operators.py").read_text(encoding="utf-8")
    written = set(re.findall(r'(?:Operator\(|kind, attributes = |kind = )"(\w+)"', source))
    assert known == written
