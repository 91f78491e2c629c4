"""Does the network fit what train does with it? Asked once, before the first step, of a copy."""

import copy
from typing import NoReturn

import torch
from torch import Tensor

from stages.common.errors import UserError
from stages.model.network import Network, NetworkConfig

TOLERANCE = 1e-3  # of a sum of float32 probabilities


@torch.random.fork_rng()
def check_network(network: Network, images: Tensor, shards: int) -> None:
    """Try a copy of the network on some normalised images, (k, channels, height, width). For more
    than one shard, try it in training mode, too.

    Raises:
        UserError: its output is not log probabilities; it does not use a key of the group `model`;
            or, with several shards, a shard's result would depend on the others or on chance.
    """
    with torch.no_grad():
        outputs = copy.deepcopy(network).eval()(images)
    expected = (len(images), network.images.classes)
    if outputs.shape != expected or ((outputs.exp().sum(1) - 1).abs() > TOLERANCE).any():
        _refuse(
            f"must give log probabilities {expected} (n, classes): end with nn.LogSoftmax(dim=1)"
        )
    if unused := _unused_keys(network):
        raise UserError(
            f"params.yaml: model.{unused[0]}: the network does not use it; remove it there and from"
            " NetworkConfig in stages/model/network.py, so that weights files do not claim it"
        )
    if shards > 1 and _needs_one_shard(network, images):
        raise UserError(
            f"params.yaml: train.shards: must be 1 for this network (got {shards}): a layer of"
            " stages/model/network.py depends on all images of a batch, keeps a state, or draws"
            " random numbers, as BatchNorm and Dropout do"
        )


def _refuse(reason: str) -> NoReturn:
    raise UserError(f"stages/model/network.py: the network {reason}")


def _unused_keys(network: Network) -> list[str]:
    """The keys of its config that are not read when it is built."""
    used = set()

    class Recorder(NetworkConfig):
        def __getattribute__(self, name: str) -> object:
            used.add(name)
            return super().__getattribute__(name)

    Network(Recorder.model_construct(**network.config.model_dump()), network.images)
    return [name for name in NetworkConfig.model_fields if name not in used]


def _needs_one_shard(network: Network, images: Tensor) -> bool:
    """Whether training mode draws random numbers, changes a buffer, or gives an image another
    result beside other images."""
    trial = copy.deepcopy(network).train()
    with torch.no_grad():
        before = torch.get_rng_state()
        first = trial(images)
        draws = not torch.equal(before, torch.get_rng_state())
        others = torch.cat([images[:1], images[1:].flip(0) * -1])
        depends = not torch.equal(first[0], trial(others)[0])
    buffers = zip(network.buffers(), trial.buffers(), strict=True)
    return draws or depends or not all(torch.equal(a, b) for a, b in buffers)
