"""Train the network on the 60,000 training images.

Reads the MNIST folder and the groups `images`, `model` and `train` of params.yaml. Writes the
first images as the network sees them, the weights after each epoch and at the end, and the history
of loss and accuracy as it goes.

    python -m stages.train data/MNIST/raw models/model.safetensors models/checkpoints \\
        models/first_images.idx metrics/history.csv .progress

From top to bottom: `main` loads, `train` goes through the epochs, `train_epoch` through the batches
of one, `train_step` changes the weights, `shard_sums` is forward and backward. What stands in
stages/training/ can be skipped on a first reading. `augment` changes the images. `resume` keeps the
state after each epoch in .progress, so that a killed run goes on. `ranks` is for several processes;
in a process alone it computes each shard, and has nothing to exchange.
"""

import math
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial, reduce
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from stages.common import files, inputs, mnist, params, tables
from stages.common.errors import UserError, run
from stages.common.images import ImageFormat
from stages.common.tables import History
from stages.model import numerics, weights
from stages.model.network import Network, NetworkConfig
from stages.training import augment, checks, ranks, resume

SHOWN = 100  # images of the first batch, at most


class TrainParams(params.Params):
    epochs: Annotated[int, Field(ge=1, le=10_000)]
    batch_size: Annotated[int, Field(ge=1, le=60_000)]
    lr: Annotated[float, Field(gt=0, le=1e6, title="learning rate")]
    schedule: Literal["constant", "one_cycle"]
    warmup: Annotated[float, Field(gt=0, lt=1)]  # fraction of all steps
    momentum: Annotated[float, Field(ge=0, lt=1)]
    nesterov: bool
    weight_decay: Annotated[float, Field(ge=0, le=1e6)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    augment: augment.Limits
    validation_size: Annotated[int, Field(ge=0)]  # images
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    log_every: Annotated[int, Field(ge=1)]  # batches
    shards: Annotated[int, Field(ge=1)]  # parts of each batch
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


@inputs.guarded
def main() -> None:
    start = time.monotonic()
    args = parse_arguments()
    p = params.load(args.params, "train", TrainParams)
    config = params.load(args.params, "model", NetworkConfig)
    image_format = params.load(args.params, "images", ImageFormat)
    files.refuse_unwritable_cache()
    numerics.pin()
    device = numerics.choose_device(p.device)

    images, labels = mnist.load(args.data, "train", image_format)
    # What is in .progress is used only if it is of a run with the same fingerprint.
    fingerprint = resume.make_fingerprint(
        params=[group.model_dump() for group in (config, image_format, p)],
        data=files.sha256(images.tobytes() + labels.tobytes()),
        device=str(device),
    )
    training = ~mnist.held_out(labels, p.validation_size)
    x = augment.Normalised(images[training], image_format, device)
    y = torch.from_numpy(labels[training].astype(np.int64)).to(device)

    with ranks.joined(fingerprint, p.shards) as is_writer:  # of several processes, rank 0 alone
        with resume.locked(args.progress) if is_writer else nullcontext():
            torch.manual_seed(p.seed)  # decides the first weights
            network = Network(config, image_format).to(device)
            checks.check_network(network, x[torch.arange(min(len(x), 16))], p.shards)
            train(network, x, y, p, fingerprint, args, is_writer=is_writer)
        print(f"Training has finished after {time.monotonic() - start:.1f} s")


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


def train(
    network: Network,
    x: augment.Normalised,  # n images
    y: Tensor,  # (n,), their labels
    p: TrainParams,
    fingerprint: dict[str, Any],
    args: Namespace,
    *,
    is_writer: bool,
) -> None:
    """All epochs. What an epoch gives is written as it comes; one that an earlier process finished
    is restored, not trained again."""
    optimizer = torch.optim.SGD(
        trained(network),
        lr=p.lr,
        momentum=p.momentum,
        nesterov=p.nesterov,
        weight_decay=p.weight_decay,
    )
    finished: Iterator[bytes] = iter(())  # the state after each epoch that was trained before
    if is_writer:
        finished = iter(resume.finished_epochs(args.progress, fingerprint))
        # All outputs are made anew. DVC has removed them, unless someone started this by hand.
        for path in args.checkpoints.glob("epoch-*"):
            path.unlink()
        first = shuffled(len(x), p.seed, epoch=1)[: min(p.batch_size, SHOWN)]
        pairs = augment.before_and_after(x, first, p.augment, p.seed)
        files.write(args.first_images, mnist.encode_images(pairs))
        files.write(args.history, tables.encode(History, []))

    history: list[History] = []
    shards = math.ceil(p.shards / ranks.size())  # that this process computes
    workers = min(args.workers, shards) if x.device.type == "cpu" else 1
    print(f"Training on {len(x):,} images ({x.device}, workers: {workers})")
    bar = tqdm(
        total=p.epochs * math.ceil(len(x) / p.batch_size),  # steps
        desc=f"Epoch 1 of {p.epochs}",
        bar_format="{desc}: {percentage:.0f} %|{bar}| {remaining} left{postfix}",
        disable=None if is_writer else True,  # None: where the output is no terminal
        file=sys.stdout,
        leave=False,
        smoothing=0,  # the seconds left are by the mean of all steps
    )

    def record(row: History) -> None:
        history.append(row)
        if is_writer:
            files.append(args.history, tables.encode_rows([row]))
        bar.set_description_str(f"Epoch {row.epoch} of {p.epochs}", refresh=False)
        bar.set_postfix_str(describe_results(row), refresh=False)
        bar.update(row.step - bar.n)

    with numerics.pool(workers) as pool, bar:
        for epoch in range(1, p.epochs + 1):
            state = ranks.from_rank_0(next(finished, b""))
            if state:
                rows = resume.restore(state, network, optimizer)
                for row in rows:
                    record(row)
                bar.initial = bar.n  # these steps took no time
            else:
                rows = train_epoch(network, optimizer, x, y, p, epoch, pool, record)
            if is_writer:
                weights.save(args.checkpoints / weights.checkpoint_name(epoch), network)
                resume.keep(args.progress, epoch, fingerprint, network, optimizer, rows)
    if is_writer:
        weights.save(args.model, network)
        files.write(args.history, tables.encode(History, history))  # git may have changed it
        inputs.refuse_changes()  # before what is kept goes: to undo the change then costs no epoch
        resume.clear(args.progress)


def train_epoch(
    network: Network,
    optimizer: torch.optim.Optimizer,
    x: augment.Normalised,
    y: Tensor,
    p: TrainParams,
    epoch: int,
    pool: numerics.Workers,
    record: Callable[[History], None],
) -> list[History]:
    """Train on each image once. Records a row of history after every p.log_every batches, and one
    for those that are left. Gives all rows of the epoch.

    Raises:
        UserError: the loss is no longer a finite number.
    """
    network.train()
    torch.manual_seed(numerics.seed(p.seed, epoch, 2))  # for layers such as Dropout
    augmented = augment.transform(x, p.augment, p.seed, epoch)
    target_table = smoothed_targets(p.label_smoothing, network.images.classes, x.device)
    batches = torch.split(shuffled(len(x), p.seed, epoch).to(x.device), p.batch_size)
    rows: list[History] = []
    window: list[BatchSums] = []  # of the batches since the last row
    for number, batch in enumerate(batches, start=1):
        step = (epoch - 1) * len(batches) + number
        lr = learning_rate(p, step, p.epochs * len(batches))
        for group in optimizer.param_groups:
            group["lr"] = lr
        window.append(
            train_step(network, optimizer, augmented, y, target_table, batch, p.shards, pool)
        )
        if number % p.log_every == 0 or number == len(batches):
            rows.append(average(window, p, epoch, number, step, lr))
            record(rows[-1])
            tqdm.write(describe(rows[-1]))
            window.clear()
    return rows


class BatchSums(NamedTuple):
    """Sums over the images of a batch, computed before the weights change."""

    loss: Tensor  # ()
    correct: Tensor  # (), how many images were classified as labelled
    n: int  # images


def train_step(
    network: Network,
    optimizer: torch.optim.Optimizer,
    augmented: augment.Transform,  # indices (k,) to images (k, channels, height, width)
    y: Tensor,  # (n,), the labels of all images
    target_table: Tensor,  # (classes, classes): for each label, what the network should give
    batch: Tensor,  # (k,), indices of images
    shards: int,
    pool: numerics.Workers,
) -> BatchSums:
    """Move the weights one step against the gradient of the mean loss of a batch.

    The batch is cut into a fixed number of parts, the shards. The gradient of each is computed on
    its own, by any worker or process, and the gradients are added in the order of the shards. So
    the bits of the sum do not depend on how many workers there are.
    """
    compute = partial(shard_sums, network, augmented, y, target_table, len(batch))
    # For each shard: its loss, its count of correct images, and a gradient for each parameter.
    results = ranks.map_shards(compute, batch.tensor_split(shards), pool)
    loss, correct, *gradients = [reduce(torch.add, column) for column in zip(*results, strict=True)]
    for parameter, gradient in zip(trained(network), gradients, strict=True):
        parameter.grad = gradient  # in place of the last one, so there is nothing to set to zero
    optimizer.step()
    return BatchSums(loss, correct, len(batch))


def shard_sums(
    network: Network,
    augmented: augment.Transform,
    y: Tensor,
    target_table: Tensor,
    batch_size: int,
    shard: Tensor,  # (k,), indices of images
) -> list[Tensor]:
    """Forward and backward for one shard. Gives three things:

    - the sum of its losses, for history.csv: those of the labels alone, without label smoothing,
      so that they can be compared with the loss on the test images
    - how many of its images are classified as labelled
    - for each parameter, the gradient of the shard's part of the batch's mean cross entropy
    """
    labels = y[shard]
    log_probabilities = network(augmented(shard))  # (k, classes)
    # Divided by the size of the batch, so that the parts of all shards add up to its mean.
    cross_entropy = -(log_probabilities * target_table[labels]).sum() / batch_size
    gradients = torch.autograd.grad(cross_entropy, trained(network))
    loss = F.nll_loss(log_probabilities.detach(), labels, reduction="sum")
    correct = (log_probabilities.argmax(dim=1) == labels).sum()
    return [loss, correct, *gradients]


def trained(network: Network) -> list[nn.Parameter]:
    """The parameters that training moves: all, unless a layer is frozen."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def smoothed_targets(smoothing: float, classes: int, device: torch.device) -> Tensor:
    """The targets of each label, (classes, classes): 1 for its own class, of which the part
    `smoothing` is spread evenly over all. Source: Szegedy et al. 2016, arXiv 1512.00567."""
    return (1 - smoothing) * torch.eye(classes, device=device) + smoothing / classes


def shuffled(n: int, seed: int, epoch: int) -> Tensor:
    """A permutation of 0 to n-1 that depends on (seed, epoch) alone, not on what ran before."""
    return torch.randperm(n, generator=numerics.generator(seed, epoch))


def learning_rate(p: TrainParams, step: int, steps: int) -> float:
    """The learning rate of a step, counted from 1, of so many `steps` in all epochs.

    `constant`: always p.lr. `one_cycle`: in a line up to p.lr during the fraction p.warmup of the
    steps, then in another line down towards 0 (Smith and Topin 2017, arXiv 1708.07120).
    """
    if p.schedule == "constant":
        return p.lr
    rise = p.warmup * steps
    return p.lr * min(step / rise, 1, (steps - step + 1) / (steps - rise))


def average(
    window: Sequence[BatchSums], p: TrainParams, epoch: int, batch: int, step: int, lr: float
) -> History:
    """The row of history for some batches: means per image. `batch`, `step` and `lr` are those of
    the last of them.

    Raises:
        UserError: a batch's loss is not finite; the message names the batch.
    """
    losses = torch.stack([sums.loss for sums in window]).tolist()
    correct = torch.stack([sums.correct for sums in window]).tolist()
    n = sum(sums.n for sums in window)
    for number, loss in enumerate(losses, start=batch - len(window) + 1):
        if not math.isfinite(loss):
            raise UserError(
                f"loss became {loss} at epoch {epoch}, batch {number}: lower train.lr ({p.lr})"
            )
    return History(epoch, batch, step, lr, math.fsum(losses) / n, sum(correct) / n)


def describe(row: History) -> str:
    """The row as a line on the terminal."""
    return f"[Epoch: {row.epoch} Batch: {row.batch:5}] {describe_results(row)}"


def describe_results(row: History) -> str:
    """Its loss and its accuracy."""
    return f"loss: {row.loss:.3f}, accuracy: {100 * row.accuracy:.1f} %"


if __name__ == "__main__":
    run(main)
