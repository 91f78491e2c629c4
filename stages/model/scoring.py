"""Which images are scored, and what the network gives for each: for any stage that scores."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stages.common import mnist
from stages.common.errors import UserError
from stages.common.images import ImageFormat, Images, Labels
from stages.model import numerics
from stages.model.network import Network

LogProbabilities = npt.NDArray[np.float32]  # (n, classes)
Sets = dict[str, tuple[Images, Labels]]  # "test", and "validation" if there is one


def load_sets(folder: Path, validation_size: int, expected: ImageFormat) -> Sets:
    """The test images and labels, and those that were held out from training, if any."""
    sets = {"test": mnist.load(folder, "test", expected)}
    if validation_size:
        images, labels = mnist.load(folder, "train", expected)
        held_out = mnist.held_out(labels, validation_size)
        sets["validation"] = images[held_out], labels[held_out]
    return sets


def classify(
    network: Network, images: Images, batch_size: int, pool: numerics.Workers
) -> LogProbabilities:
    """The network's output for each image, (n, classes). The batches do not depend on how many
    workers the pool has, so neither do the bits.

    Raises:
        UserError: an output is not a finite number, or depends on the other images of its batch.
    """

    def forward(batch: Images) -> Tensor:
        outputs: Tensor = network(torch.from_numpy(network.images.normalise(batch)))
        return outputs

    batches = [images[at : at + batch_size] for at in range(0, len(images), batch_size)]
    outputs = torch.cat(pool.map(forward, batches))
    if not outputs.isfinite().all():
        raise UserError("the network's outputs are not finite: lower train.lr and train again")
    # The same images once more, the second half of their batch replaced by other images.
    half = -(-len(batches[0]) // 2)
    again = forward(np.concatenate([batches[0][:half], images[::-1][: len(batches[0]) - half]]))
    if not torch.equal(again[:half], outputs[:half]):
        raise UserError(
            "stages/model/network.py: an image's result depends on the other images of its batch,"
            " or on chance; a layer does not follow eval mode"
        )
    return outputs.numpy()
