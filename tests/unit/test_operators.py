import re

import pytest
from torch import nn

from stages.common.errors import UserError
from stages.common.images import ImageFormat
from stages.model.network import NetworkConfig
from tests.support import networks
from tests.support.parts import needs
from tests.support.runner import ROOT
from tools import operators


def test_layers_are_named_as_in_the_list_and_dropout_is_left_out(
    config: NetworkConfig, image_format: ImageFormat
) -> None:
    found = operators.operators(networks.unusual(config, image_format))
    names = ["block.conv", "block.norm", "block.relu", "pool", "flatten", "fc", "log_softmax"]
    assert [operator.layer for operator in found][2:] == names


@pytest.mark.parametrize(
    "layer",
    [
        nn.GELU(),
        nn.Conv2d(2, 2, 3, groups=2),
        nn.Conv2d(2, 2, 3, padding="same"),
        nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.LogSoftmax(dim=0),
        nn.BatchNorm2d(2, affine=False),
        nn.BatchNorm2d(2, track_running_stats=False),
    ],
)
def test_a_layer_without_translation_is_named(layer: nn.Module) -> None:
    with pytest.raises(UserError, match=r"extra: .* tools/operators\.py"):
        operators.translate("extra", layer)


@needs("tools/page")
def test_the_page_knows_every_operator() -> None:
    """A kind that only one of the two knows would be seen only when a network has such a layer."""
    script = (ROOT / "tools/page/network.js").read_text(encoding="utf-8")
    table = script.partition("const OPERATORS = {")[2].partition("};")[0]
    known = re.findall(r"^  (\w+):", table, re.MULTILINE)
    source = (ROOT / "tools/operators.py").read_text(encoding="utf-8")
    assert set(known) == set(re.findall(r'"([A-Z]\w+)"', source))
