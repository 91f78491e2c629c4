"""A step of training, and the state between two epochs: the same bits however they are computed."""

import copy
from itertools import product
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional as F

from stages import train
from stages.common import mnist
from stages.common.tables import History
from stages.model import network as network_module
from stages.model import numerics
from stages.model.network import Dropout, Network, NetworkConfig
from stages.training import augment, state
from stages.training.optimizer import SGD, Optimizer
from stages.training.step import Examples, dropout_generator, smoothed_targets, train_step
from tests.support import runner, tiny

N = 100  # images
CPU = torch.device("cpu")
LIMITS = augment.Limits(degrees=10, translate=2, scale=0.1, shear=5)


@pytest.fixture
def network(config: NetworkConfig) -> Network:
    torch.manual_seed(3)
    return Network(config)


@pytest.fixture
def with_dropout(config: NetworkConfig, monkeypatch: pytest.MonkeyPatch) -> Network:
    """The network with dropout after the first pooling and before the last layer."""
    plain = network_module.layers

    def layers(config: NetworkConfig) -> dict[str, torch.nn.Module]:
        with_dropout: dict[str, torch.nn.Module] = {}
        for name, layer in plain(config).items():
            if name in {"relu1", "fc2"}:
                with_dropout[f"dropout before {name}"] = Dropout(0.3)
            with_dropout[name] = layer
        return with_dropout

    monkeypatch.setattr(network_module, "layers", layers)
    torch.manual_seed(3)
    return Network(config)


@pytest.fixture(scope="module")
def tensors() -> tuple[Tensor, Tensor]:
    images, labels = tiny.digits(N, seed=3)
    return torch.from_numpy(mnist.normalise(images, 0.1, 0.3)), torch.from_numpy(labels).long()


def run_epoch(
    network: Network,
    optimizer: Optimizer,
    tensors: tuple[Tensor, Tensor],
    epoch: int,
    shards: int,
    pool: numerics.Workers,
) -> None:
    """An epoch with augmentation in batches of 24; the last has 4 images."""
    images, labels = tensors
    transform = augment.transform(images, LIMITS, seed=1, epoch=epoch)
    examples = Examples(transform, labels, smoothed_targets(0.1, CPU), entropy=(1, epoch))
    for batch in torch.split(train.shuffled(N, 1, epoch), 24):
        train_step(network, optimizer, examples, batch, shards, pool)


def sgd(network: Network, momentum: float) -> SGD:
    return SGD(
        network.parameters(), lr=0.01, momentum=momentum, nesterov=momentum > 0, weight_decay=0.1
    )


@pytest.mark.parametrize("smoothing", [0, 0.3])
@pytest.mark.parametrize("size", [N, 4])  # 4 images leave three of seven shards empty
@pytest.mark.parametrize("shards", [1, 2, 3, 7])
def test_a_step_is_plain_sgd_on_the_whole_batch(
    network: Network, tensors: tuple[Tensor, Tensor], shards: int, size: int, smoothing: float
) -> None:
    images, labels = tensors
    batch = torch.arange(N).flip(0)[:size]
    plain = copy.deepcopy(network)
    log_probabilities = plain(images[batch])
    loss = F.nll_loss(log_probabilities, labels[batch])
    # It takes logits, and log probabilities are logits that give themselves.
    smoothed = F.cross_entropy(log_probabilities, labels[batch], label_smoothing=smoothing)
    smoothed.backward()  # type: ignore[no-untyped-call]
    torch.optim.SGD(plain.parameters(), lr=0.1).step()

    optimizer = SGD(network.parameters(), lr=0.1)
    examples = Examples(images.__getitem__, labels, smoothed_targets(smoothing, CPU), (1, 1))
    with numerics.pool(2) as pool:
        seen = train_step(network, optimizer, examples, batch, shards, pool)

    assert seen.images == size
    assert seen.correct == (log_probabilities.argmax(dim=1) == labels[batch]).sum()
    torch.testing.assert_close(seen.loss, loss.detach() * size)
    for ours, expected in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, expected.grad)
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("weight_decay", [0, 0.1])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0, False), (0.9, False), (0.9, True)])
def test_sgd_gives_the_bits_of_pytorchs_class(
    network: Network, momentum: float, weight_decay: float, *, nesterov: bool
) -> None:
    ours, theirs = copy.deepcopy(network), copy.deepcopy(network)
    options: dict[str, Any] = {"momentum": momentum, "weight_decay": weight_decay}
    options["nesterov"] = nesterov
    optimizers = (
        SGD(ours.parameters(), 0.1, **options),
        torch.optim.SGD(theirs.parameters(), 0.1, **options),
    )
    random = torch.Generator().manual_seed(0)
    for step in range(3):
        for parameters in zip(ours.parameters(), theirs.parameters(), strict=True):
            gradient = torch.randn(parameters[0].shape, generator=random)
            for parameter in parameters:
                parameter.grad = gradient.clone()
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = 0.1 / (step + 1)
            optimizer.step()
    for mine, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, expected)


def test_training_starts_without_loading_pytorchs_compiler() -> None:
    code = """if True:
        import sys, torch
        from stages import train
        network = torch.nn.Linear(2, 2)
        optimizer = train.SGD(network.parameters(), 0.1, 0.9)
        network(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        optimizer.load_state_dict(optimizer.state_dict())
        sys.exit("torch._dynamo" in sys.modules)
    """
    assert runner.python("-c", code).returncode == 0


@pytest.mark.parametrize("kind", ["network", "with_dropout"])
@pytest.mark.parametrize("shards", [1, 2, 3, 7])
def test_the_bits_do_not_depend_on_the_number_of_workers(
    request: pytest.FixtureRequest, tensors: tuple[Tensor, Tensor], shards: int, kind: str
) -> None:
    network: Network = request.getfixturevalue(kind)
    results = []
    for workers in (1, 2, 4):
        trained = copy.deepcopy(network)
        optimizer = SGD(trained.parameters(), lr=0.01, momentum=0.9)
        with numerics.pool(workers) as pool:
            for epoch in range(3):
                run_epoch(trained, optimizer, tensors, epoch, shards, pool)
        results.append(b"".join(p.detach().numpy().tobytes() for p in trained.parameters()))
    assert results[0] == results[1] == results[2]


def test_dropout_changes_a_training_step_and_nothing_else(
    network: Network, with_dropout: Network, tensors: tuple[Tensor, Tensor]
) -> None:
    images, labels = tensors
    assert torch.equal(with_dropout(images), network(images))  # no generator: as without dropout
    losses = []
    for seed in (1, 1, 2):
        examples = Examples(images.__getitem__, labels, smoothed_targets(0, CPU), (seed, 1))
        with numerics.pool(1) as pool:
            trained = copy.deepcopy(with_dropout)
            losses.append(train_step(trained, sgd(trained, 0), examples, torch.arange(50), 2, pool))
    assert losses[0].loss == losses[1].loss != losses[2].loss


def test_dropout_keeps_the_mean_and_sets_its_part_to_0() -> None:
    dropped = Dropout(0.3)(torch.ones(1000, 100), torch.Generator().manual_seed(1))
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert dropped.mean().item() == pytest.approx(1, abs=0.01)


def test_every_shard_of_every_epoch_has_its_own_dropout(
    with_dropout: Network, tensors: tuple[Tensor, Tensor]
) -> None:
    images, labels = tensors
    drawn = set()
    for seed, epoch, first in product((1, 2), (1, 2), (3, 4)):
        examples = Examples(images.__getitem__, labels, smoothed_targets(0, CPU), (seed, epoch))
        generator = dropout_generator(with_dropout, examples, torch.tensor([first, 99]))
        drawn.add(tuple(torch.rand(8, generator=generator).tolist()))
    assert len(drawn) == 8


@pytest.mark.parametrize("momentum", [0, 0.9])
def test_a_restored_run_goes_on_with_the_same_bits(
    network: Network, tensors: tuple[Tensor, Tensor], momentum: float
) -> None:
    other, rows = copy.deepcopy(network), [History(1, 5, 5, 0.01, 1 / 3, 0.1)]
    optimizer, resumed = sgd(network, momentum), sgd(other, momentum)
    with numerics.pool(1) as pool:
        run_epoch(network, optimizer, tensors, 1, 2, pool)
        kept = through_a_file(state.snapshot(network, optimizer, rows))
        assert state.restore(kept, other, resumed) == rows
        for number, parameter in enumerate(other.parameters()):
            if momentum:
                buffer = resumed.state_dict()["state"][number]["momentum_buffer"]
                assert buffer.stride() == parameter.stride()
        for epoch in (2, 3):
            run_epoch(network, optimizer, tensors, epoch, 2, pool)
            run_epoch(other, resumed, tensors, epoch, 2, pool)
    for ours, expected in zip(other.parameters(), network.parameters(), strict=True):
        assert torch.equal(ours, expected)
        assert ours.stride() == expected.stride()


def test_another_optimizer_is_restored_too(
    network: Network, tensors: tuple[Tensor, Tensor]
) -> None:
    """Adam keeps two tensors for each parameter, and a count."""
    other = copy.deepcopy(network)
    optimizer, resumed = (torch.optim.Adam(n.parameters(), lr=0.01) for n in (network, other))
    with numerics.pool(1) as pool:
        run_epoch(network, optimizer, tensors, 1, 2, pool)
        row = History(1, 5, 5, 0.01, 1 / 3, 0.1)
        state.restore(through_a_file(state.snapshot(network, optimizer, [row])), other, resumed)
        for trained, its_optimizer in ((network, optimizer), (other, resumed)):
            run_epoch(trained, its_optimizer, tensors, 2, 2, pool)
    for ours, expected in zip(other.parameters(), network.parameters(), strict=True):
        assert torch.equal(ours, expected)


def through_a_file(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as they come back from a file."""
    return safetensors.torch.load(safetensors.torch.save(tensors))
