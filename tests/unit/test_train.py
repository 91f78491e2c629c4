"""The stage train: a step, an epoch, and what main writes."""

import copy
import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stages import train
from stages.common import mnist
from stages.common.errors import UserError
from stages.common.images import ImageFormat
from stages.common.tables import History
from stages.model import numerics
from stages.model.network import Network, NetworkConfig
from stages.train import BatchSums, TrainParams
from stages.training.augment import Normalised
from tests.support import runner, tiny

N = 100  # images
CPU = torch.device("cpu")
RECIPE = {"batch_size": 24, "shards": 3, "lr": 0.05, "momentum": 0.9} | tiny.RECIPE
FIRST = "models/checkpoints/epoch-01.safetensors"


@pytest.fixture(scope="module")
def x() -> Normalised:
    images, _ = tiny.digits(N, seed=3)
    expected = ImageFormat(height=28, width=28, channels=1, classes=10, mean=[0.1], std=[0.3])
    return Normalised(images, expected, CPU)


@pytest.fixture(scope="module")
def y() -> torch.Tensor:
    _, labels = tiny.digits(N, seed=3)
    return torch.from_numpy(labels).long()


def parameters(**changed: object) -> TrainParams:
    """The group `train` of the tests, with some values changed."""
    return runner.load_params("train", TrainParams, **changed)


@pytest.mark.parametrize("smoothing", [0, 0.3])
@pytest.mark.parametrize(("shards", "size"), [(1, N), (3, N), (7, 4)])  # 4 images: 3 empty shards
def test_a_step_is_plain_sgd_on_the_whole_batch(
    network: Network, x: Normalised, y: torch.Tensor, shards: int, size: int, smoothing: float
) -> None:
    batch = torch.arange(N).flip(0)[:size]
    plain = copy.deepcopy(network)
    log_probabilities = plain(x[batch])
    loss = F.nll_loss(log_probabilities, y[batch])
    # It takes logits, and log probabilities are logits that give themselves.
    smoothed = F.cross_entropy(log_probabilities, y[batch], label_smoothing=smoothing)
    smoothed.backward()  # type: ignore[no-untyped-call]
    torch.optim.SGD(plain.parameters(), lr=0.1).step()

    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    targets = train.smoothed_targets(smoothing, 10, CPU)
    with numerics.pool(2) as pool:
        seen = train.train_step(network, optimizer, x.__getitem__, y, targets, batch, shards, pool)

    assert seen.n == size
    assert seen.correct == (log_probabilities.argmax(dim=1) == y[batch]).sum()
    torch.testing.assert_close(seen.loss, loss.detach() * size)
    for ours, expected in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, expected.grad)
        torch.testing.assert_close(ours, expected)


def test_the_number_of_workers_changes_no_bit(
    network: Network, x: Normalised, y: torch.Tensor
) -> None:
    results = []
    for workers in (1, 2, 4):
        trained = copy.deepcopy(network)
        optimizer = torch.optim.SGD(trained.parameters(), lr=0.01, momentum=0.9)
        with numerics.pool(workers) as pool:
            rows = train.train_epoch(trained, optimizer, x, y, parameters(**RECIPE), 1, pool, print)
        weights = b"".join(p.detach().numpy().tobytes() for p in trained.parameters())
        results.append((rows, weights))
    assert results[0] == results[1] == results[2]


def sums(*rows: tuple[float, int, int]) -> list[BatchSums]:
    """What steps saw, from their (loss, correct, images)."""
    return [BatchSums(torch.tensor(loss), torch.tensor(right), n) for loss, right, n in rows]


def test_a_row_of_history_weighs_each_image_alike() -> None:
    window = sums((2, 1, 2), (4, 2, 2), (3, 1, 1))
    row = train.average(window, parameters(), epoch=2, batch=5, step=10, lr=0.1)
    assert row == History(epoch=2, batch=5, step=10, lr=0.1, loss=9 / 5, accuracy=4 / 5)


def test_a_loss_that_is_no_number_is_named_with_its_batch() -> None:
    window = sums((1, 1, 2), (float("inf"), 0, 2), (float("nan"), 0, 2))
    with pytest.raises(UserError, match=r"^loss became inf at epoch 3, batch 11: lower train\.lr"):
        train.average(window, parameters(), epoch=3, batch=12, step=40, lr=0.1)


def test_each_epoch_and_each_seed_has_its_own_order() -> None:
    torch.manual_seed(1)
    orders = [train.shuffled(100, seed, epoch) for seed in range(5) for epoch in range(5)]
    assert all(sorted(order.tolist()) == list(range(100)) for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) == 25
    drawn = torch.rand(3)
    torch.manual_seed(1)  # PyTorch's own generator was left alone, and leaves the order alone
    assert torch.equal(drawn, torch.rand(3))
    assert torch.equal(train.shuffled(100, 0, 0), orders[0])


def one_cycle(lr: float, warmup: float, steps: int) -> list[float]:
    p = parameters(lr=lr, schedule="one_cycle", warmup=warmup)
    return [train.learning_rate(p, step, steps) for step in range(1, steps + 1)]


def test_one_cycle_rises_in_a_line_to_the_peak_and_falls_in_another_to_0() -> None:
    rates = one_cycle(lr=0.8, warmup=0.4, steps=10)
    rise, fall = [0.2, 0.4, 0.6, 0.8], [0.8 * left / 6 for left in (6, 5, 4, 3, 2, 1)]
    assert rates == pytest.approx([*rise, *fall])


@pytest.mark.parametrize("steps", [1, 2, 1000])
@pytest.mark.parametrize("warmup", [1e-9, 0.5, 1 - 1e-9])
def test_one_cycle_stays_above_0_and_reaches_at_most_the_peak(warmup: float, steps: int) -> None:
    assert all(0 < rate <= 0.1 for rate in one_cycle(0.1, warmup, steps))


def test_main_writes_the_weights_of_each_epoch_and_the_last_and_the_history(trained: Path) -> None:
    checkpoints = sorted((trained / "models/checkpoints").iterdir())
    assert [path.name for path in checkpoints] == ["epoch-01.safetensors", "epoch-02.safetensors"]
    first, last = (path.read_bytes() for path in checkpoints)
    assert (trained / "models/model.safetensors").read_bytes() == last != first
    history = pd.read_csv(trained / "metrics/history.csv")  # 30 batches an epoch, 12 a row
    assert history[["epoch", "batch", "step"]].to_numpy().tolist() == [
        [1, 12, 12], [1, 24, 24], [1, 30, 30], [2, 12, 42], [2, 24, 54], [2, 30, 60],
    ]  # fmt: skip
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert [path.name for path in (trained / ".progress").iterdir()] == ["lock"]


def test_main_writes_the_first_images_as_they_are_and_as_the_network_saw_them(
    trained: Path, workspace: Path
) -> None:
    path = Path("models/first_images.idx")
    images, _ = tiny.digits(tiny.TRAIN, seed=1)
    first = images[train.shuffled(len(images), seed=42, epoch=1)[:20], ..., 0]
    original, seen = mnist.decode_idx((trained / path).read_bytes())
    np.testing.assert_array_equal(original, first)
    np.testing.assert_array_equal(seen, first)  # no augmentation

    limits = {"degrees": 0, "translate": 2, "scale": 0, "shear": 0}
    runner.write_params(workspace, train={"epochs": 1, "batch_size": 30, "augment": limits})
    runner.run(workspace, "train")
    original, seen = mnist.decode_idx((workspace / path).read_bytes())
    np.testing.assert_array_equal(original[:20], first)
    assert seen.shape == (30, 28, 28)
    assert all((one != other).any() for one, other in zip(seen, original, strict=True))


def test_another_seed_gives_other_weights_and_no_old_checkpoint_stays(
    trained: Path, workspace: Path
) -> None:
    (workspace / FIRST).parent.mkdir(parents=True)
    (workspace / FIRST).with_name("epoch-07.safetensors").touch()  # of a run without DVC
    runner.write_params(workspace, train={"epochs": 1, "batch_size": 20, "lr": 0.01, "seed": 43})
    runner.run(workspace, "train")
    assert (workspace / FIRST).read_bytes() != (trained / FIRST).read_bytes()
    assert list((workspace / FIRST).parent.iterdir()) == [workspace / FIRST]


def test_training_that_diverges_says_to_lower_lr_and_leaves_no_model(workspace: Path) -> None:
    runner.write_params(workspace, train={"lr": 1e6, "batch_size": 20})
    with pytest.raises(UserError, match=r"^loss became nan at epoch 1, batch \d+: lower train\.lr"):
        runner.run(workspace, "train")
    assert {path.name for path in (workspace / "models").iterdir()} == {"first_images.idx"}


def test_on_a_terminal_one_bar_shows_how_far_all_epochs_are(workspace: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("Windows has no pseudo terminals")
    import termios  # noqa: PLC0415 - nor this

    controller, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (24, 100))
    variables = {**os.environ, "PYTHONPATH": str(runner.ROOT)}
    command = [sys.executable, *runner.STAGES["train"]["cmd"].split()[1:]]
    process = subprocess.Popen(command, cwd=workspace, env=variables, stdout=terminal)
    os.close(terminal)
    shown = b""
    with suppress(OSError):  # that the terminal is closed, on Linux
        while part := os.read(controller, 1024):
            shown += part
    assert process.wait() == 0
    bars = re.findall(r"Epoch (\d) of 2: (\d+) %[^\r]* left(?:, (loss: [^\r]*\S))?", shown.decode())
    lines = re.findall(r"\[Epoch: \d Batch: +\d+\] (loss: .*?) *\r", shown.decode())
    assert bars[0][:2] == ("1", "0")
    assert bars[-1][:2] == ("2", "100")
    assert bars[-1][2] == lines[-1]
    assert len(lines) == 6


def test_batchnorm_and_dropout_resume_with_the_same_bits(
    workspace: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Running statistics are part of what is kept, and random numbers depend on the epoch alone."""

    def layers(config: NetworkConfig, images: ImageFormat) -> dict[str, nn.Module]:
        units = config.conv2_filters + config.hidden_units
        return {
            "conv": nn.Conv2d(1, config.conv1_filters, config.kernel_size, bias=False),
            "norm": nn.BatchNorm2d(config.conv1_filters),
            "pool": nn.MaxPool2d(6),
            "flatten": nn.Flatten(),
            "drop": nn.Dropout(0.3),
            "fc1": nn.Linear(config.conv1_filters * 16, units),
            "fc2": nn.Linear(units, images.classes),
            "log_softmax": nn.LogSoftmax(dim=1),
        }

    monkeypatch.setattr("stages.model.network.layers", layers)
    runner.write_params(workspace, train={"epochs": 3, "batch_size": 20, "lr": 0.02, "shards": 1})
    whole = shutil.copytree(workspace, tmp_path_factory.mktemp("whole"), dirs_exist_ok=True)
    runner.run(whole, "train")

    class Killed(BaseException):
        pass

    train_epoch = train.train_epoch

    def killed_in_the_third(*args: Any, **kwargs: Any) -> list[History]:  # noqa: ANN401
        if args[5] == 3:
            raise Killed
        return train_epoch(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(train, "train_epoch", killed_in_the_third)
        with pytest.raises(Killed):
            runner.run(workspace, "train")
    torch.rand(7)  # what ran before does not count
    runner.run(workspace, "train")
    assert runner.training_digests(workspace) == runner.training_digests(whole)
