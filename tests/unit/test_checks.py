"""What train asks of a network before the first step."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from stages.common.errors import UserError
from stages.common.images import ImageFormat
from stages.model.network import Network, NetworkConfig
from stages.training import checks

IMAGES = torch.linspace(-1, 2, 6 * 784).view(6, 1, 28, 28)


class Hidden(nn.Module):
    """It draws random numbers, and no layer of a known kind says so."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (1 + torch.rand_like(x) / 1e6) if self.training else x


class Centred(nn.Module):
    """It depends on the other images of the batch, without a buffer or a random number."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(dim=0)


@pytest.fixture
def make(
    config: NetworkConfig, image_format: ImageFormat, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Network]:
    """A network that ends with some layers."""

    def make(*last: nn.Module) -> Network:
        def layers(used: NetworkConfig, _: ImageFormat) -> dict[str, nn.Module]:
            hidden = used.conv1_filters + used.conv2_filters + used.kernel_size + used.hidden_units
            first = [nn.Flatten(), nn.Linear(784, hidden), nn.Linear(hidden, 10)]
            return {f"layer{number}": layer for number, layer in enumerate([*first, *last])}

        monkeypatch.setattr("stages.model.network.layers", layers)
        return Network(config, image_format)

    return make


@pytest.mark.parametrize(
    "layer",
    [
        nn.Dropout(0.001),
        nn.Sequential(nn.Sequential(nn.AlphaDropout(0.2))),
        nn.BatchNorm1d(10),
        nn.BatchNorm1d(10, track_running_stats=False),
        Hidden(),
        Centred(),
    ],
)
def test_several_shards_are_refused_for_what_needs_the_whole_batch(
    make: Callable[..., Network], layer: nn.Module
) -> None:
    network = make(layer, nn.LogSoftmax(dim=1))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = torch.get_rng_state()
    with pytest.raises(UserError, match=r"train\.shards: must be 1 for this network \(got 2\)"):
        checks.check_network(network, IMAGES, shards=2)
    checks.check_network(network, IMAGES, shards=1)
    assert torch.equal(torch.get_rng_state(), state)  # it leaves no trace
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("layer", [nn.GELU(), nn.LayerNorm(10), nn.GroupNorm(2, 10)])
def test_several_shards_are_fine_for_what_does_not(
    make: Callable[..., Network], layer: nn.Module
) -> None:
    checks.check_network(make(layer, nn.LogSoftmax(dim=1)), IMAGES, shards=4)


@pytest.mark.parametrize("last", [nn.ReLU(), nn.Softmax(dim=1), nn.LogSoftmax(dim=0)])
def test_an_output_that_is_not_log_probabilities_is_refused(
    make: Callable[..., Network], last: nn.Module
) -> None:
    with pytest.raises(UserError, match=r"must give log probabilities \(6, 10\) .*LogSoftmax"):
        checks.check_network(make(last), IMAGES, shards=1)


def test_a_key_that_the_network_does_not_use_is_refused(
    config: NetworkConfig, image_format: ImageFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    def layers(used: NetworkConfig, _: ImageFormat) -> dict[str, nn.Module]:
        hidden = used.conv1_filters + used.conv2_filters + used.hidden_units
        last = nn.Sequential(nn.Linear(hidden, 10), nn.LogSoftmax(dim=1))
        return {"flatten": nn.Flatten(), "first": nn.Linear(784, hidden), "last": last}

    monkeypatch.setattr("stages.model.network.layers", layers)
    with pytest.raises(UserError, match=r"^params\.yaml: model\.kernel_size: the network does not"):
        checks.check_network(Network(config, image_format), IMAGES, shards=1)
