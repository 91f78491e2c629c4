from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from stages import train
from stages.common import mnist, params
from stages.common.errors import UserError
from stages.common.tables import History
from stages.train import TrainParams
from stages.training.step import BatchSums
from tests.support import runner, tiny

OFF = {"degrees": 0, "translate": 0, "scale": 0, "shear": 0}


def sums(*rows: tuple[float, int, int]) -> list[BatchSums]:
    """What steps saw, from their (loss, correct, images)."""
    return [BatchSums(torch.tensor(loss), torch.tensor(right), n) for loss, right, n in rows]


def test_a_row_of_history_weighs_each_image_alike() -> None:
    window = sums((2, 1, 2), (4, 2, 2), (3, 1, 1))
    assert train.average(window, epoch=2, batch=5, step=10, lr=0.1) == History(
        epoch=2, batch=5, step=10, lr=0.1, loss=9 / 5, accuracy=4 / 5
    )


@pytest.mark.parametrize("loss", ["nan", "inf"])
def test_a_loss_that_is_no_number_is_named_with_its_batch(loss: str) -> None:
    window = sums((1, 1, 2), (float(loss), 0, 2), (float("nan"), 0, 2))
    with pytest.raises(FloatingPointError, match=f"^loss became {loss} at epoch 3, batch 11$"):
        train.average(window, epoch=3, batch=12, step=40, lr=0.1)


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


def learning_rates(steps: int, **changed: object) -> list[float]:
    p = params.load(runner.ROOT / "params.yaml", "train", TrainParams).model_copy(update=changed)
    return [train.learning_rate(p, step, steps) for step in range(1, steps + 1)]


def test_a_constant_learning_rate_is_the_same_at_each_step() -> None:
    assert learning_rates(4, lr=0.3, schedule="constant") == [0.3] * 4


def test_one_cycle_rises_in_a_line_to_the_peak_and_falls_in_another_to_0() -> None:
    rates = learning_rates(10, lr=0.8, schedule="one_cycle", warmup=0.4)
    rise, fall = [0.2, 0.4, 0.6, 0.8], [0.8 * left / 6 for left in (6, 5, 4, 3, 2, 1)]
    assert rates == pytest.approx([*rise, *fall])


@pytest.mark.parametrize("steps", [1, 2, 3, 1000])
@pytest.mark.parametrize("warmup", [1e-9, 0.2, 0.5, 1 - 1e-9])
def test_one_cycle_stays_above_0_and_reaches_at_most_the_peak(warmup: float, steps: int) -> None:
    rates = learning_rates(steps, lr=0.1, schedule="one_cycle", warmup=warmup)
    assert len(rates) == steps
    assert all(0 < rate <= 0.1 for rate in rates)


def test_cpu_is_silent_where_the_bits_are_the_same_as_elsewhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train.choose_device("cpu", "") == torch.device("cpu")
    assert capsys.readouterr().out == ""
    train.choose_device("cpu", "this CPU has no AVX2")
    assert capsys.readouterr().out == (
        "Note: the last bits of the weights may differ from dvc.lock: this CPU has no AVX2\n"
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_cuda_is_refused() -> None:
    with pytest.raises(UserError, match=r"^params\.yaml: train\.device: cuda, but PyTorch sees no"):
        train.choose_device("cuda", "")


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
