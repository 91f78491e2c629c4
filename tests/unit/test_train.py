import copy
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from torch.nn import functional as F

from stages import train
from stages.common import mnist
from stages.common.errors import UserError
from stages.common.tables import History
from stages.model import numerics
from stages.model.network import Network, NetworkConfig
from stages.train import StepResult
from stages.training import augment
from tests.support import runner, tiny

N = 100  # images
OFF = {"degrees": 0, "translate": 0, "scale": 0, "shear": 0}


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
    return [
        StepResult(torch.tensor(loss), torch.tensor(right), n, lr=number / 8)
        for number, (loss, right, n) in enumerate(rows, start=1)
    ]


def test_averages_weigh_each_image_alike_and_name_the_last_learning_rate() -> None:
    seen = steps((2, 1, 2), (4, 2, 2), (1, 0, 2), (2, 2, 2), (3, 1, 1))
    assert list(train.averages(seen, epoch=2, steps_per_epoch=5, every=2)) == [
        History(epoch=2, batch=2, step=7, lr=2 / 8, loss=6 / 4, accuracy=3 / 4),
        History(epoch=2, batch=4, step=9, lr=4 / 8, loss=3 / 4, accuracy=2 / 4),
        History(epoch=2, batch=5, step=10, lr=5 / 8, loss=3 / 1, accuracy=1 / 1),
    ]


def test_a_window_may_end_in_a_short_batch() -> None:
    seen = steps((2, 1, 2), (4, 1, 1))
    assert list(train.averages(seen, epoch=1, steps_per_epoch=2, every=300)) == [
        History(epoch=1, batch=2, step=2, lr=2 / 8, loss=6 / 3, accuracy=2 / 3)
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


def test_a_constant_learning_rate_is_the_same_at_each_step() -> None:
    assert train.learning_rates(0.3, "constant", 0.2, steps=4) == [0.3] * 4


def test_one_cycle_rises_in_a_line_to_the_peak_and_falls_in_another_to_0() -> None:
    rates = train.learning_rates(0.8, "one_cycle", 0.4, steps=10)
    rise, fall = [0.2, 0.4, 0.6, 0.8], [0.8 * left / 6 for left in (6, 5, 4, 3, 2, 1)]
    assert rates == pytest.approx([*rise, *fall])


@pytest.mark.parametrize("steps", [1, 2, 3, 1000])
@pytest.mark.parametrize("warmup", [1e-9, 0.2, 0.5, 1 - 1e-9])
def test_one_cycle_stays_above_0_and_reaches_at_most_the_peak(warmup: float, steps: int) -> None:
    rates = train.learning_rates(0.1, "one_cycle", warmup, steps)
    assert len(rates) == steps
    assert all(0 < rate <= 0.1 for rate in rates)


@pytest.mark.parametrize("smoothing", [0, 0.3])
@pytest.mark.parametrize("size", [N, 4])  # 4 images leave three of seven shards empty
@pytest.mark.parametrize("shards", [1, 2, 3, 7])
def test_a_step_is_plain_sgd_on_the_whole_batch(
    network: Network,
    tensors: tuple[torch.Tensor, torch.Tensor],
    shards: int,
    size: int,
    smoothing: float,
) -> None:
    images, labels = tensors
    indices = torch.arange(N).flip(0)[:size]
    plain = copy.deepcopy(network)
    log_probabilities = plain(images[indices])
    loss = F.nll_loss(log_probabilities, labels[indices])
    # It takes logits; log probabilities are those of themselves.
    smoothed = F.cross_entropy(log_probabilities, labels[indices], label_smoothing=smoothing)
    smoothed.backward()  # type: ignore[no-untyped-call]
    torch.optim.SGD(plain.parameters(), lr=0.1).step()

    optimizer = torch.optim.SGD(network.parameters(), lr=7)  # replaced by each batch's own
    with numerics.pool(2) as pool:
        view, batches = images.__getitem__, [(indices, 0.1)]
        (seen,) = train.train_epoch(
            network, optimizer, view, labels, batches, smoothing, shards, pool
        )

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
                run_epoch(trained, optimizer, tensors, epoch, shards, pool)
        results.append(b"".join(p.detach().numpy().tobytes() for p in trained.parameters()))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("momentum", [0, 0.9])
def test_a_restored_run_goes_on_with_the_same_bits(
    network: Network, tensors: tuple[torch.Tensor, torch.Tensor], momentum: float
) -> None:
    def sgd(network: Network) -> torch.optim.SGD:
        return torch.optim.SGD(
            network.parameters(),
            lr=0.01,
            momentum=momentum,
            nesterov=momentum > 0,
            weight_decay=0.1,
        )

    other, rows = copy.deepcopy(network), [History(1, 5, 5, 0.01, 1 / 3, 0.1)]
    optimizer, resumed = sgd(network), sgd(other)
    with numerics.pool(1) as pool:
        run_epoch(network, optimizer, tensors, 1, 2, pool)
        kept = weights_file(train.snapshot(network, optimizer, rows))
        assert train.restore(kept, other, resumed) == rows
        for epoch in (2, 3):
            run_epoch(network, optimizer, tensors, epoch, 2, pool)
            run_epoch(other, resumed, tensors, epoch, 2, pool)
    for ours, expected in zip(other.parameters(), network.parameters(), strict=True):
        assert torch.equal(ours, expected)
        assert ours.stride() == expected.stride()


def run_epoch(
    network: Network,
    optimizer: torch.optim.SGD,
    tensors: tuple[torch.Tensor, torch.Tensor],
    epoch: int,
    shards: int,
    pool: Executor,
) -> None:
    """An epoch with augmentation in batches of 24; the last has 4 images."""
    images, labels = tensors
    limits = augment.Limits(degrees=10, translate=2, scale=0.1, shear=5)
    view = augment.view(images, limits, seed=1, epoch=epoch)
    batches = [(batch, 0.01) for batch in torch.split(train.shuffled(N, 1, epoch), 24)]
    list(train.train_epoch(network, optimizer, view, labels, batches, 0.1, shards, pool))


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
    assert list(history.columns) == ["epoch", "batch", "step", "lr", "loss", "accuracy"]
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]


def test_main_writes_the_first_images_as_they_are_and_as_the_network_saw_them(
    trained: Path, workspace: Path
) -> None:
    path = Path("models/first_images.idx")
    images, _ = tiny.digits(tiny.TRAIN, seed=1)
    first = images[train.shuffled(len(images), seed=42, epoch=1)[:20]]
    original, seen = mnist.decode_idx((trained / path).read_bytes())
    np.testing.assert_array_equal(original, first)
    np.testing.assert_array_equal(seen, first)  # no augmentation

    runner.write_params(
        workspace, train={"epochs": 1, "batch_size": 30, "augment": {**OFF, "translate": 2}}
    )
    runner.run(workspace, "train")
    original, seen = mnist.decode_idx((workspace / path).read_bytes())
    np.testing.assert_array_equal(original[:20], first)
    assert seen.shape == (30, 28, 28)
    assert all((one != other).any() for one, other in zip(seen, original, strict=True))


def test_held_out_images_are_not_trained_on(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runner.write_params(workspace, train={"epochs": 1, "batch_size": 20, "validation_size": 100})
    runner.run(workspace, "train")
    assert "Training on 500 images" in capsys.readouterr().out
    history = pd.read_csv(workspace / "metrics/history.csv")
    assert history["batch"].tolist() == [25]


def test_more_held_out_than_there_is_is_refused(workspace: Path) -> None:
    runner.write_params(workspace, train={"validation_size": 600})
    with pytest.raises(
        UserError, match=r"^params\.yaml: train\.validation_size: must be less than"
    ):
        runner.run(workspace, "train")


def test_one_worker_gives_the_same_files_as_two(trained: Path, workspace: Path) -> None:
    runner.run(workspace, "train", "--workers=1")
    ours, theirs = runner.digests(workspace), runner.digests(trained)
    assert ours == {name: theirs[name] for name in ours}
    assert "models/model.safetensors" in ours


def test_another_seed_gives_other_weights(trained: Path, workspace: Path) -> None:
    runner.write_params(workspace, train={"epochs": 1, "batch_size": 20, "lr": 0.01, "seed": 43})
    runner.run(workspace, "train")
    first = "models/checkpoints/epoch-01.safetensors"
    assert (workspace / first).read_bytes() != (trained / first).read_bytes()


@pytest.mark.parametrize("lr", [1e6, 1e38])
def test_training_that_diverges_says_to_lower_lr_and_leaves_no_model(
    workspace: Path, lr: float
) -> None:
    runner.write_params(workspace, train={"lr": lr, "batch_size": 20})
    with pytest.raises(UserError, match=r"^loss became nan at epoch 1, batch \d+: lower train\.lr"):
        runner.run(workspace, "train")
    assert {path.name for path in (workspace / "models").iterdir()} == {"first_images.idx"}
