"""Train the network on the 60,000 training images.

Reads the MNIST folder and the groups `model` and `train` of params.yaml. Writes the first images
as the network sees them, the weights after each epoch and at the end, and the history of loss and
accuracy as it goes. It saves its state in the folder .progress after each epoch: a killed run
continues from there. Processes that torchrun started share the work: stages/training/ranks.py.

    python -m stages.train data/MNIST/raw models/model.safetensors models/checkpoints \\
        models/first_images.idx metrics/history.csv .progress
"""

import math
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor
from tqdm import tqdm

from stages.common import files, mnist, params, tables
from stages.common.errors import UserError, run
from stages.common.tables import History
from stages.model import numerics, weights
from stages.model.network import Network, NetworkConfig
from stages.training import augment, progress, ranks, state
from stages.training.optimizer import SGD, Optimizer
from stages.training.step import BatchSums, Examples, smoothed_targets, train_step

# The arguments that are paths of outputs.
OUTPUTS = ("model", "checkpoints", "first_images", "history", "progress")
SHOWN = 100  # images of the first batch, at most


class TrainParams(params.Params):
    epochs: Annotated[int, Field(ge=1, le=10_000)]
    batch_size: Annotated[int, Field(ge=1, le=60_000)]
    lr: Annotated[float, Field(gt=0, title="learning rate")]
    schedule: Literal["constant", "one_cycle"]
    warmup: Annotated[float, Field(gt=0, lt=1)]  # fraction of all steps
    momentum: Annotated[float, Field(ge=0, lt=1)]
    nesterov: bool
    weight_decay: Annotated[float, Field(ge=0)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    augment: augment.Limits
    validation_size: Annotated[int, Field(ge=0)]  # images
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    log_every: Annotated[int, Field(ge=1)]  # batches
    shards: Annotated[int, Field(ge=1)]
    device: Literal["cpu", "cuda"]

    @field_validator("nesterov")
    @classmethod
    def _needs_momentum(cls, nesterov: bool, info: ValidationInfo) -> bool:
        if nesterov and info.data.get("momentum") == 0:
            raise ValueError("needs train.momentum above 0")
        return nesterov

    @field_validator("shards")
    @classmethod
    def _not_more_than_images(cls, shards: int, info: ValidationInfo) -> int:
        if shards > info.data.get("batch_size", shards):
            raise ValueError(f"must be at most train.batch_size, {info.data['batch_size']}")
        return shards


class Record:
    """What training writes as it goes: history.csv, and the weights after each epoch."""

    def __init__(self, history: Path, checkpoints: Path) -> None:
        self._history = history
        self._checkpoints = checkpoints
        files.write(history, tables.encode(History, []))  # DVC removed what an earlier run wrote

    def add(self, *rows: History) -> None:
        """Add rows to the history."""
        for row in rows:
            files.append(self._history, tables.encode_rows([row]))

    def checkpoint(self, epoch: int, network: Network) -> None:
        """Save the weights after an epoch.

        Raises:
            FloatingPointError: a weight is not a finite number.
        """
        weights.save(self._checkpoints / weights.checkpoint_name(epoch), network)


def main() -> None:
    start = time.monotonic()
    args = parse_arguments()
    p = params.load(args.params, "train", TrainParams)
    config = params.load(args.params, "model", NetworkConfig)
    with ranks.only_rank_0_writes(args, *OUTPUTS) as args:
        device = choose_device(p.device, numerics.pin())
        numerics.keep_freed_memory()
        images, labels = mnist.load(args.data, "train")
        fingerprint = progress.fingerprint(
            params={"model": config.model_dump(), "train": p.model_dump()},
            data=files.sha256(images.tobytes() + labels.tobytes()),
            device=str(device),
        )
        team = ranks.join(fingerprint, p.shards, device, args.params)
        held_out = mnist.held_out(labels, p.validation_size)
        x, y = to_tensors(images[~held_out], labels[~held_out], config, device)
        files.write(args.first_images, mnist.encode_idx(first_images(x, p, config)))

        shards = len(team.own(p.shards))  # those of this process: more workers would idle
        workers = min(args.workers, shards or 1) if device.type == "cpu" else 1
        print(f"Training on {len(x):,} images ({device}, workers: {workers})")
        try:
            with progress.kept(args.progress, fingerprint) as kept, team.pool(workers) as pool:
                kept.epochs = team.broadcast(kept.epochs)
                record = Record(args.history, args.checkpoints)
                network = train(x, y, p, config, pool, kept, record)
                weights.save(args.model, network)
        except FloatingPointError as error:
            raise UserError(f"{error}: lower train.lr ({p.lr})") from None
        print(f"Training has finished after {time.monotonic() - start:.1f} s")


def train(
    x: augment.Normalised,  # (n, 1, 28, 28), the images
    y: Tensor,  # (n,), their labels
    p: TrainParams,
    config: NetworkConfig,
    pool: ranks.Pool,
    kept: progress.Progress,
    record: Record,
) -> Network:
    """The trained network. An epoch that an earlier process finished is restored, not trained
    again.

    Raises:
        FloatingPointError: the loss or a weight is no longer a finite number.
    """
    network, optimizer = initial_state(p, config, x.device)
    targets = smoothed_targets(p.label_smoothing, x.device)
    for epoch in range(1, p.epochs + 1):
        if epoch <= len(kept.epochs):
            rows = state.restore(kept.epochs[epoch - 1], network, optimizer)
            record.add(*rows)
        else:
            transform = augment.transform(x, p.augment, p.seed, epoch)
            examples = Examples(transform, y, targets, entropy=(p.seed, epoch))
            batches = torch.split(shuffled(len(x), p.seed, epoch).to(x.device), p.batch_size)
            rows, window = [], []  # of this epoch; the steps since the last row
            for number, batch in enumerate(progress_bar(batches, epoch), start=1):
                step = (epoch - 1) * len(batches) + number
                lr = learning_rate(p, step, p.epochs * len(batches))
                set_learning_rate(optimizer, lr)
                # The step: forward, loss, gradient, optimizer.step().
                window.append(train_step(network, optimizer, examples, batch, p.shards, pool))
                if number % p.log_every == 0 or number == len(batches):
                    rows.append(average(window, epoch, number, step, lr))
                    record.add(rows[-1])
                    tqdm.write(describe(rows[-1]))
                    window.clear()
        record.checkpoint(epoch, network)
        kept.keep(epoch, state.snapshot(network, optimizer, rows))
    return network


def parse_arguments() -> Namespace:
    parser = ArgumentParser(description="Train the network.")
    parser.add_argument("data", type=Path, help="the folder with the MNIST files")
    parser.add_argument("model", type=Path, help="where the final weights go")
    parser.add_argument("checkpoints", type=Path, help="folder for the weights after each epoch")
    parser.add_argument(
        "first_images", type=Path, help="where the first images go, before and after augmentation"
    )
    parser.add_argument("history", type=Path, help="where loss and accuracy go, as CSV")
    parser.add_argument("progress", type=Path, help="folder for what a killed run resumes from")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    numerics.add_workers_option(parser)
    return parser.parse_args()


def choose_device(name: Literal["cpu", "cuda"], difference: str) -> torch.device:
    """The device of that name. Says so when the bits may differ from those in dvc.lock: on a GPU,
    or for the reason `difference`, if there is one.

    Raises:
        UserError: `cuda` was asked for and there is none.
    """
    if name == "cuda":
        if not torch.cuda.is_available():
            raise UserError(
                "params.yaml: train.device: cuda, but PyTorch sees no GPU here; use cpu, or"
                " install a GPU's driver and PyTorch's CUDA build"
            )
        numerics.pin_gpu()
        difference = "they are computed on a GPU"
    if difference:
        print(f"Note: the last bits of the weights may differ from dvc.lock: {difference}")
    return torch.device(name)


def to_tensors(
    images: mnist.Images, labels: mnist.Labels, config: NetworkConfig, device: torch.device
) -> tuple[augment.Normalised, Tensor]:
    """The images (n, 1, 28, 28), and their labels, (n,) int64."""
    pixels = torch.tensor(images, device=device).unsqueeze(1)
    normalised = augment.Normalised(pixels, config.mean, config.std)
    return normalised, torch.from_numpy(labels.astype(np.int64)).to(device)


def first_images(x: augment.Normalised, p: TrainParams, config: NetworkConfig) -> mnist.Images:
    """The first images of training, (2, k, 28, 28): as in the data, and as the network sees them
    in the first epoch."""
    first = shuffled(len(x), p.seed, epoch=1)[: min(p.batch_size, SHOWN)].to(x.device)
    pair = torch.stack([x[first], augment.transform(x, p.augment, p.seed, epoch=1)(first)])
    return to_pixels(pair, config)


def to_pixels(images: Tensor, config: NetworkConfig) -> mnist.Images:
    """Normalised images (..., 1, 28, 28) as they were, (..., 28, 28) uint8."""
    pixels = 255 * (images.squeeze(-3) * config.std + config.mean)
    return pixels.round().clamp(0, 255).to(torch.uint8).cpu().numpy()


def initial_state(
    p: TrainParams, config: NetworkConfig, device: torch.device
) -> tuple[Network, SGD]:
    """The network before training, with weights that the seed decides, and its optimizer."""
    torch.manual_seed(p.seed)
    network = Network(config).to(device)
    optimizer = SGD(
        network.parameters(),
        lr=p.lr,
        momentum=p.momentum,
        nesterov=p.nesterov,
        weight_decay=p.weight_decay,
    )
    return network, optimizer


def shuffled(n: int, seed: int, epoch: int) -> Tensor:
    """A permutation of 0 to n-1 that depends on (seed, epoch) alone, not on what ran before."""
    return torch.randperm(n, generator=numerics.generator(seed, epoch))


def learning_rate(p: TrainParams, step: int, steps: int) -> float:
    """The learning rate of a step, counted from 1, of so many `steps` in all epochs.

    `constant`: always p.lr. `one_cycle`: in a line up to p.lr during the fraction p.warmup of the
    steps, then in another line down to 0 (Smith and Topin 2017, arXiv 1708.07120).
    """
    if p.schedule == "constant":
        return p.lr
    rise = p.warmup * steps
    return p.lr * min(step / rise, 1, (steps - step + 1) / (steps - rise))


def progress_bar(batches: Sequence[Tensor], epoch: int) -> Iterable[Tensor]:
    """The batches, with a bar on a terminal that shows how many are done."""
    return tqdm(batches, f"Epoch {epoch}", leave=False, file=sys.stdout, disable=None)


def set_learning_rate(optimizer: Optimizer, lr: float) -> None:
    """Use this learning rate from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def average(window: Sequence[BatchSums], epoch: int, batch: int, step: int, lr: float) -> History:
    """The row of history for some batches, of which the last has these numbers: means per image.

    Raises:
        FloatingPointError: a batch's loss is not finite; the message names the batch.
    """
    losses = torch.stack([sums.loss for sums in window]).tolist()
    correct = torch.stack([sums.correct for sums in window]).tolist()
    images = sum(sums.images for sums in window)
    for number, loss in enumerate(losses, start=batch - len(window) + 1):
        if not math.isfinite(loss):
            raise FloatingPointError(f"loss became {loss} at epoch {epoch}, batch {number}")
    return History(epoch, batch, step, lr, math.fsum(losses) / images, sum(correct) / images)


def describe(row: History) -> str:
    """The row as a line on the terminal."""
    position = f"[Epoch: {row.epoch} Batch: {row.batch:5}]"
    return f"{position} loss: {row.loss:.3f}, accuracy: {100 * row.accuracy:.1f} %"


if __name__ == "__main__":
    run(main)
