"""Train the network on the 60,000 training images.

Reads the MNIST folder and the groups `model` and `train` of params.yaml. Writes the first images
as the network sees them, the weights after each epoch and at the end, and the history of loss and
accuracy as it goes. What it keeps in the folder .progress lets it go on after the last finished
epoch when it was killed. Processes that torchrun started share the work: stages/training/ranks.py.

    python -m stages.train data/MNIST/raw models/model.safetensors models/checkpoints \\
        models/first_images.idx metrics/history.csv .progress
"""

import math
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial, reduce
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from stages.common import files, mnist, params, tables
from stages.common.errors import UserError, run
from stages.common.tables import History
from stages.model import numerics, weights
from stages.model.network import Network, NetworkConfig
from stages.training import augment, progress, ranks

CHECKPOINT = "epoch-{:02}.safetensors"
SHOWN = 100  # images of the first batch, at most
MOMENTUM = "momentum_buffer"  # its name in the state of torch.optim.SGD


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
    device: Literal["cpu", "cuda", "auto"]

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


class StepResult(NamedTuple):
    """What one step of training saw in its batch, before it changed the weights."""

    loss: Tensor  # (), summed over the images
    correct: Tensor  # (), how many images were classified as labelled
    size: int  # images
    lr: float


def main() -> None:
    start = time.monotonic()
    outputs = "model", "checkpoints", "first_images", "history", "progress"
    args = ranks.reserve(parse_arguments(), *outputs)
    p = params.load(args.params, "train", TrainParams)
    config = params.load(args.params, "model", NetworkConfig)
    exact = numerics.pin()
    device = choose_device(p.device, exact=exact)
    images, labels = mnist.load(args.data, "train")
    identity = progress.fingerprint(
        params={"model": config.model_dump(), "train": p.model_dump()},
        data=mnist.sha256(images.tobytes() + labels.tobytes()),
        device=str(device),
    )
    team = ranks.join(identity, p.shards, device, args.params)
    held_out = mnist.held_out(labels, p.validation_size)
    images, labels = images[~held_out], labels[~held_out]

    torch.manual_seed(p.seed)  # for the initial weights
    network = Network(config).to(device)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=p.lr,
        momentum=p.momentum,
        nesterov=p.nesterov,
        weight_decay=p.weight_decay,
    )
    x, y = to_tensors(images, labels, config, device)
    workers = min(args.workers, len(team.mine(p.shards)) or 1) if device.type == "cpu" else 1
    print(f"Training on {len(x):,} images ({device}, workers: {workers})")

    steps = math.ceil(len(x) / p.batch_size)  # an epoch
    rates = learning_rates(p.lr, p.schedule, p.warmup, p.epochs * steps)

    first = shuffled(len(x), p.seed, epoch=1)[: min(p.batch_size, SHOWN)].to(device)
    pair = torch.stack([x[first], augment.view(x, p.augment, p.seed, epoch=1)(first)])
    files.write(args.first_images, mnist.encode_idx(to_pixels(pair, config)))

    history: list[History] = []
    try:
        with progress.kept(args.progress, identity) as kept, team.pool(workers) as pool:
            finished = team.shared(kept.epochs)
            for epoch, tensors in enumerate(finished, start=1):
                history += restore(tensors, network, optimizer)
                files.write(args.history, tables.encode(History, history))
                weights.save(args.checkpoints / CHECKPOINT.format(epoch), network)
            for epoch in range(len(finished) + 1, p.epochs + 1):
                order = shuffled(len(x), p.seed, epoch).to(device)
                view = augment.view(x, p.augment, p.seed, epoch)
                epoch_rates = rates[(epoch - 1) * steps : epoch * steps]
                batches = zip(torch.split(order, p.batch_size), epoch_rates, strict=True)
                results = train_epoch(
                    network, optimizer, view, y, batches, p.label_smoothing, p.shards, pool
                )
                bar = tqdm(
                    results, f"Epoch {epoch}", steps, leave=False, file=sys.stdout, disable=None
                )
                for row in averages(bar, epoch, steps, p.log_every):
                    history.append(row)
                    files.write(args.history, tables.encode(History, history))
                    tqdm.write(describe(row))
                weights.save(args.checkpoints / CHECKPOINT.format(epoch), network)
                rows = [row for row in history if row.epoch == epoch]
                kept.append(snapshot(network, optimizer, rows))
            weights.save(args.model, network)
    except FloatingPointError as error:
        raise UserError(f"{error}: lower train.lr ({p.lr})") from None
    print(f"Training has finished after {time.monotonic() - start:.1f} s")


def parse_arguments() -> Namespace:
    parser = ArgumentParser(description="Train the network.")
    parser.add_argument("data", type=Path, help="the folder with the MNIST files")
    parser.add_argument("model", type=Path, help="where the final weights go")
    parser.add_argument("checkpoints", type=Path, help="folder for the weights after each epoch")
    parser.add_argument(
        "first_images", type=Path, help="where the first images, as in the data and as seen, go"
    )
    parser.add_argument("history", type=Path, help="where loss and accuracy go, as CSV")
    parser.add_argument("progress", type=Path, help="folder for what a killed run resumes from")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    numerics.add_workers_option(parser)
    return parser.parse_args()


def choose_device(name: Literal["cpu", "cuda", "auto"], *, exact: bool) -> torch.device:
    """The device by its name; `auto` is a GPU where there is one. Says so when the bits may
    differ from those of other machines: on a GPU, or where the CPU is not `exact`.

    Raises:
        UserError: `cuda` was asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "params.yaml: train.device: cuda, but PyTorch sees no GPU here; use cpu or auto"
        )
    device = torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        print("Note: on a GPU the weights differ in their last bits from those of other machines")
    elif not exact:
        print(
            "Note: without AVX2 the weights differ in their last bits from those of other machines"
        )
    return device


def to_tensors(
    images: mnist.Images, labels: mnist.Labels, config: NetworkConfig, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The images, normalised, (n, 1, 28, 28) float32, and their labels, (n,) int64."""
    normalised = torch.from_numpy(mnist.normalise(images, config.mean, config.std))
    return normalised.to(device), torch.from_numpy(labels.astype(np.int64)).to(device)


def to_pixels(images: Tensor, config: NetworkConfig) -> mnist.Images:
    """Normalised images (..., 1, 28, 28) as they were, (..., 28, 28) uint8."""
    pixels = 255 * (images.squeeze(-3) * config.std + config.mean)
    return pixels.round().clamp(0, 255).to(torch.uint8).cpu().numpy()


def shuffled(n: int, seed: int, epoch: int) -> Tensor:
    """A permutation of 0 to n-1 that depends on (seed, epoch) alone, not on what ran before."""
    return torch.randperm(n, generator=numerics.generator(seed, epoch))


def learning_rates(
    peak: float, schedule: Literal["constant", "one_cycle"], warmup: float, steps: int
) -> list[float]:
    """The learning rate of each step. `one_cycle`: in a line up to the peak during the fraction
    `warmup` of the steps, in another down to 0 (Smith and Topin 2017, arXiv 1708.07120)."""
    if schedule == "constant":
        return [peak] * steps
    rise = warmup * steps
    return [
        peak * min((step + 1) / rise, 1, (steps - step) / (steps - rise)) for step in range(steps)
    ]


def train_epoch(
    network: Network,
    optimizer: torch.optim.Optimizer,
    view: augment.View,
    labels: Tensor,  # (n,)
    batches: Iterable[tuple[Tensor, float]],  # indices of the images, learning rate
    label_smoothing: float,
    shards: int,
    pool: ranks.Pool,
) -> Iterator[StepResult]:
    """Take one step of the optimizer for each batch.

    A batch is cut into `shards` parts, the pool computes the gradient of each, and they are
    added in the order of the shards: the sum has the same bits however many threads there are.
    """
    (settings,) = optimizer.param_groups
    for batch, lr in batches:
        settings["lr"] = lr
        part = partial(shard_sums, network, view, labels, label_smoothing, len(batch))
        parts = pool.map(part, batch.tensor_split(shards))
        # A row of `parts` is a shard, a column is one sum over the batch.
        loss, correct, *gradients = [
            reduce(torch.add, column) for column in zip(*parts, strict=True)
        ]
        for parameter, gradient in zip(network.parameters(), gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        yield StepResult(loss, correct, len(batch), lr)


def shard_sums(
    network: Network,
    view: augment.View,
    labels: Tensor,  # (n,)
    label_smoothing: float,
    batch_size: int,
    shard: Tensor,  # indices
) -> list[Tensor]:
    """The part that the images with the indices `shard` add to their batch: the sum of their
    losses, how many are classified as labelled, and the gradient of the batch's mean loss.

    The gradient is that of the smoothed loss, in which the digits share `label_smoothing` of the
    label (Szegedy et al. 2016, arXiv 1512.00567); the losses are those of the labels alone, as
    they are on the test images.
    """
    expected = labels[shard]
    log_probabilities = network(view(shard))
    loss = F.nll_loss(log_probabilities, expected, reduction="sum")
    of_all_digits = -log_probabilities.mean(dim=1).sum()
    smoothed = torch.lerp(loss, of_all_digits, label_smoothing)
    gradients = torch.autograd.grad(smoothed / batch_size, list(network.parameters()))
    correct = (log_probabilities.argmax(dim=1) == expected).sum()
    return [loss.detach(), correct, *gradients]


def averages(
    steps: Iterable[StepResult], epoch: int, steps_per_epoch: int, every: int
) -> Iterator[History]:
    """The mean loss and accuracy, per image, of each `every` steps; what is left at the end
    of the epoch makes a shorter row.

    Raises:
        FloatingPointError: a batch's loss is not finite; the message names the batch.
    """
    numbered = enumerate(steps, start=1)
    while window := list(islice(numbered, every)):
        losses = torch.stack([step.loss for _, step in window]).tolist()
        correct = torch.stack([step.correct for _, step in window]).tolist()
        for (number, _), loss in zip(window, losses, strict=True):
            if not math.isfinite(loss):
                raise FloatingPointError(f"loss became {loss} at epoch {epoch}, batch {number}")
        size = sum(step.size for _, step in window)
        last, _ = window[-1]
        total = (epoch - 1) * steps_per_epoch + last
        loss, accuracy = math.fsum(losses) / size, sum(correct) / size
        yield History(epoch, last, total, window[-1][1].lr, loss, accuracy)


def snapshot(
    network: Network, optimizer: torch.optim.SGD, rows: Sequence[History]
) -> dict[str, Tensor]:
    """All that the next epochs depend on, and the rows of history of this epoch."""
    tensors = {"history": torch.tensor(rows, dtype=torch.float64)}  # exact for counts to 2**53
    for name, parameter in network.named_parameters():
        velocity = optimizer.state[parameter].get(MOMENTUM, torch.zeros_like(parameter))
        tensors |= {f"weights.{name}": parameter.detach(), f"momentum.{name}": velocity}
    return {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}


@torch.no_grad()
def restore(
    tensors: Mapping[str, Tensor], network: Network, optimizer: torch.optim.SGD
) -> list[History]:
    """The inverse of `snapshot`: set the network and the optimizer, return the rows."""
    for name, parameter in network.named_parameters():
        parameter.copy_(tensors[f"weights.{name}"])
        velocity = torch.empty_like(parameter).copy_(tensors[f"momentum.{name}"])
        optimizer.state[parameter][MOMENTUM] = velocity
    return [
        History(int(epoch), int(batch), int(step), *numbers)
        for epoch, batch, step, *numbers in tensors["history"].tolist()
    ]


def describe(row: History) -> str:
    """The row as a line on the terminal."""
    position = f"[Epoch: {row.epoch} Batch: {row.batch:5}]"
    return f"{position} loss: {row.loss:.3f}, accuracy: {100 * row.accuracy:.1f} %"


if __name__ == "__main__":
    run(main)
