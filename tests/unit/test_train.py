import copy
from pathlib import Path

import pandas as pd
import pytest
import safetensors.torch
import torch
from torch.nn import functional as F

from stages import train
from stages.common import mnist, numerics
from stages.common.errors import UserError
from stages.common.network import Network, NetworkConfig
from stages.train import History, StepResult
from tests import tiny
from tests.unit import project

N = 100  # images


@pytest.fixture
def network(config: NetworkConfig) -> Network:
    torch.manual_seed(3)
    return Network(config)


@pytest.fixture(scope="module")
def tensors() -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = tiny.digits(N, seed=3)
    return torch.from_numpy(mnist.normalise(images, 0.1, 0.3)), torch.from_numpy(labels).long()


def steps(*rows: tuple[float, int, int]) -> list[StepResult]:
    """Results of steps from their (loss, correct, size)."""
    return [StepResult(torch.tensor(loss), torch.tensor(right), n) for loss, right, n in rows]


def test_averages_weigh_each_image_alike() -> None:
    seen = steps((2, 1, 2), (4, 2, 2), (1, 0, 2), (2, 2, 2), (3, 1, 1))
    assert list(train.averages(seen, epoch=2, steps_per_epoch=5, every=2)) == [
        History(epoch=2, batch=2, step=7, loss=6 / 4, accuracy=3 / 4),
        History(epoch=2, batch=4, step=9, loss=3 / 4, accuracy=2 / 4),
        History(epoch=2, batch=5, step=10, loss=3 / 1, accuracy=1 / 1),
    ]


def test_a_window_may_end_in_a_short_batch() -> None:
    seen = steps((2, 1, 2), (4, 1, 1))
    assert list(train.averages(seen, epoch=1, steps_per_epoch=2, every=300)) == [
        History(epoch=1, batch=2, step=2, loss=6 / 3, accuracy=2 / 3)
    ]


@pytest.mark.parametrize("loss", ["nan", "inf"])
def test_a_loss_that_is_no_number_is_named_with_its_batch(loss: str) -> None:
    seen = steps((1, 1, 2), (1, 1, 2), (float(loss), 0, 2), (float("nan"), 0, 2))
    with pytest.raises(FloatingPointError, match=f"^loss became {loss} at epoch 3, batch 3$"):
        list(train.averages(seen, epoch=3, steps_per_epoch=4, every=2))


def test_shuffled_is_a_permutation() -> None:
    order = train.shuffled(1000, seed=42, epoch=1)
    assert sorted(order.tolist()) == list(range(1000))
    assert order.tolist() != list(range(1000))


def test_each_epoch_and_each_seed_has_its_own_order() -> None:
    orders = {
        tuple(train.shuffled(100, seed, epoch).tolist()) for seed in range(5) for epoch in range(5)
    }
    assert len(orders) == 25


def test_the_order_and_the_global_generator_do_not_touch_each_other() -> None:
    torch.manual_seed(1)
    order = train.shuffled(100, seed=42, epoch=1)
    drawn = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(3))
    assert torch.equal(order, train.shuffled(100, seed=42, epoch=1))


@pytest.mark.parametrize("size", [N, 4])  # 4 images leave three of seven shards empty
@pytest.mark.parametrize("shards", [1, 2, 3, 7])
def test_a_step_is_plain_sgd_on_the_whole_batch(
    network: Network, tensors: tuple[torch.Tensor, torch.Tensor], shards: int, size: int
) -> None:
    images, labels = tensors
    indices = torch.arange(N).flip(0)[:size]
    plain = copy.deepcopy(network)
    log_probabilities = plain(images[indices])
    loss = F.nll_loss(log_probabilities, labels[indices])
    loss.backward()  # type: ignore[no-untyped-call]
    torch.optim.SGD(plain.parameters(), lr=0.1).step()

    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    with numerics.pool(2) as pool:
        (seen,) = train.train_epoch(network, optimizer, images, labels, [indices], shards, pool)

    assert seen.size == size
    assert seen.correct == (log_probabilities.argmax(dim=1) == labels[indices]).sum()
    torch.testing.assert_close(seen.loss, loss.detach() * size)
    for ours, expected in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, expected.grad)
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("shards", [1, 2, 3, 7])
def test_the_bits_do_not_depend_on_the_number_of_workers(
    network: Network, tensors: tuple[torch.Tensor, torch.Tensor], shards: int
) -> None:
    results = []
    for workers in (1, 2, 4):
        trained = copy.deepcopy(network)
        optimizer = torch.optim.SGD(trained.parameters(), lr=0.01, momentum=0.9)
        with numerics.pool(workers) as pool:
            for epoch in range(3):
                order = torch.split(train.shuffled(N, 1, epoch), 24)  # the last batch has 4 images
                list(train.train_epoch(trained, optimizer, *tensors, order, shards, pool))
        results.append(b"".join(p.detach().numpy().tobytes() for p in trained.parameters()))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("momentum", [0, 0.9])
def test_a_restored_run_goes_on_with_the_same_bits(
    network: Network, tensors: tuple[torch.Tensor, torch.Tensor], momentum: float
) -> None:
    def epoch(number: int, network: Network, optimizer: torch.optim.SGD) -> None:
        order = torch.split(train.shuffled(N, 1, number), 24)
        with numerics.pool(1) as pool:
            list(train.train_epoch(network, optimizer, *tensors, order, 2, pool))

    def sgd(network: Network) -> torch.optim.SGD:
        return torch.optim.SGD(network.parameters(), lr=0.01, momentum=momentum)

    other, rows = copy.deepcopy(network), [History(1, 5, 5, 1 / 3, 0.1)]
    optimizer, resumed = sgd(network), sgd(other)
    epoch(1, network, optimizer)
    kept = weights_file(train.snapshot(network, optimizer, rows))
    assert train.restore(kept, other, resumed) == rows
    for number in (2, 3):
        epoch(number, network, optimizer)
        epoch(number, other, resumed)
    for ours, expected in zip(other.parameters(), network.parameters(), strict=True):
        assert torch.equal(ours, expected)
        assert ours.stride() == expected.stride()


def weights_file(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors as they come back from a file."""
    return safetensors.torch.load(safetensors.torch.save(tensors))


def test_cpu_is_silent_where_the_bits_are_the_same_as_elsewhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train.choose_device("cpu", exact=True) == torch.device("cpu")
    assert capsys.readouterr().out == ""
    train.choose_device("cpu", exact=False)
    assert capsys.readouterr().out.startswith("Note: without AVX2 the weights differ")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_cuda_is_refused_and_auto_is_the_cpu() -> None:
    with pytest.raises(UserError, match=r"^params\.yaml: train\.device: cuda, but PyTorch sees no"):
        train.choose_device("cuda", exact=True)
    assert train.choose_device("auto", exact=True) == torch.device("cpu")


def test_main_writes_the_weights_of_each_epoch_and_the_last(trained: Path) -> None:
    checkpoints = sorted((trained / "models/checkpoints").iterdir())
    assert [path.name for path in checkpoints] == ["epoch-01.safetensors", "epoch-02.safetensors"]
    first, last = (path.read_bytes() for path in checkpoints)
    assert (trained / "models/model.safetensors").read_bytes() == last != first


def test_main_writes_the_history(trained: Path) -> None:
    history = pd.read_csv(trained / "metrics/history.csv")  # 30 batches an epoch, 12 a row
    assert history[["epoch", "batch", "step"]].to_numpy().tolist() == [
        [1, 12, 12], [1, 24, 24], [1, 30, 30], [2, 12, 42], [2, 24, 54], [2, 30, 60],
    ]  # fmt: skip
    assert list(history.columns) == ["epoch", "batch", "step", "loss", "accuracy"]
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]


def test_one_worker_gives_the_same_files_as_two(trained: Path, workspace: Path) -> None:
    project.run(workspace, "train", "--workers=1")
    ours, theirs = project.digests(workspace), project.digests(trained)
    assert ours == {name: theirs[name] for name in ours}
    assert "models/model.safetensors" in ours


def test_another_seed_gives_other_weights(trained: Path, workspace: Path) -> None:
    project.write_params(workspace, train={"epochs": 1, "batch_size": 20, "lr": 0.01, "seed": 43})
    project.run(workspace, "train")
    first = "models/checkpoints/epoch-01.safetensors"
    assert (workspace / first).read_bytes() != (trained / first).read_bytes()


@pytest.mark.parametrize("lr", [1e6, 1e38])
def test_training_that_diverges_says_to_lower_lr_and_leaves_no_model(
    workspace: Path, lr: float
) -> None:
    project.write_params(workspace, train={"lr": lr, "batch_size": 20})
    with pytest.raises(UserError, match=r"^loss became nan at epoch 1, batch \d+: lower train\.lr"):
        project.run(workspace, "train")
    assert not (workspace / "models").exists()
