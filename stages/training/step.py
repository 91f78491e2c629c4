"""One step of training: from a batch of images to new weights, with the same bits always.

A batch is cut into a fixed number of parts, the shards. Each shard's gradient is computed on its
own, by any worker, and the gradients are added in the order of the shards. So the sum does not
depend on how many workers there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from stages.common.mnist import CLASSES
from stages.model import numerics
from stages.model.network import Network
from stages.training.augment import Transform
from stages.training.optimizer import Optimizer
from stages.training.ranks import Pool


class BatchSums(NamedTuple):
    """Sums over the images of a batch, computed before the weights change."""

    loss: Tensor  # (), summed over the images
    correct: Tensor  # (), how many images were classified as labelled
    images: int


@dataclass(frozen=True)
class Examples:
    """What the network learns from in one epoch."""

    transform: Transform  # indices (k,) to images (k, 1, 28, 28), as the network sees them
    labels: Tensor  # (n,), of all training images
    targets: Tensor  # (10, 10), for each label the probabilities that the network should give
    entropy: tuple[int, int]  # seed and epoch: dropout draws from these


def train_step(
    network: Network,
    optimizer: Optimizer,
    examples: Examples,
    batch: Tensor,  # (k,), indices of images
    shards: int,
    pool: Pool,
) -> BatchSums:
    """Move the weights one step against the gradient of the mean loss of a batch."""
    compute = partial(shard_sums, network, examples, len(batch))
    sums = pool.map(compute, batch.tensor_split(shards))  # a row a shard
    loss, correct, *gradients = add_in_order(sums)
    for parameter, gradient in zip(network.parameters(), gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()
    return BatchSums(loss, correct, len(batch))


def shard_sums(
    network: Network,
    examples: Examples,
    batch_size: int,
    shard: Tensor,  # (k,), indices of images
) -> list[Tensor]:
    """One shard's sum of losses, count of correct images, and gradient of the batch's mean cross
    entropy with the targets, a tensor for each parameter of the network.

    The losses are those of the labels alone, as they are on the test images.
    """
    labels = examples.labels[shard]
    images = examples.transform(shard)  # (k, 1, 28, 28)
    log_probabilities = network(images, dropout_generator(network, examples, shard))
    targets = examples.targets[labels]  # (k, 10)
    cross_entropy = (log_probabilities * targets).sum() / -batch_size  # its part of the mean
    gradients = torch.autograd.grad(cross_entropy, list(network.parameters()))
    loss = F.nll_loss(log_probabilities.detach(), labels, reduction="sum")
    correct = (log_probabilities.argmax(dim=1) == labels).sum()
    return [loss, correct, *gradients]


def smoothed_targets(smoothing: float, device: torch.device) -> Tensor:
    """The targets of each label, (10, 10): 1 for its own digit, of which the part `smoothing` is
    spread evenly over all digits. Source: Szegedy et al. 2016, arXiv 1512.00567."""
    labels = torch.eye(CLASSES, device=device)
    return (1 - smoothing) * labels + smoothing / CLASSES


def dropout_generator(
    network: Network, examples: Examples, shard: Tensor
) -> torch.Generator | None:
    """The random numbers of one shard, if the network needs any. An image is seen once an epoch,
    so the index of its first image identifies a shard."""
    if not network.has_dropout:
        return None
    return numerics.generator(*examples.entropy, 2, *shard[:1].tolist())


def add_in_order(rows: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """The sum of each column, from the first row to the last."""
    return [reduce(torch.add, column) for column in zip(*rows, strict=True)]
