"""A small data set in MNIST's format, which the network learns in seconds.

Each digit is a bright block at a place of its own, on noise.
"""

from pathlib import Path

import numpy as np

from stages.common import mnist
from stages.common.files import sha256
from stages.common.images import Images, Labels

TRAIN, TEST = 600, 200  # images
RECIPE = {  # all of the group `train` that is off by default
    "schedule": "one_cycle",
    "nesterov": True,
    "weight_decay": 1e-3,
    "label_smoothing": 0.1,
    "augment": {"degrees": 5, "translate": 1, "scale": 0.05, "shear": 5},
    "validation_size": 100,
}


def digits(n: int, seed: int) -> tuple[Images, Labels]:
    """Images (n, 28, 28, 1) and labels (n,); unequal counts of the digits, as in MNIST."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 10, n, dtype=np.uint8)
    images = random.integers(0, 60, (n, 28, 28), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 4)
        image[4 + 8 * row : 10 + 8 * row, 2 + 6 * column : 8 + 6 * column] += 180
    return images[..., np.newaxis], labels


def files(train: int = TRAIN, test: int = TEST) -> dict[str, bytes]:
    """The content of the four files, with so many images."""
    contents: dict[str, bytes] = {}
    for split, n, seed in (("train", train, 1), ("test", test, 2)):
        images, labels = digits(n, seed)
        encoded = mnist.encode_images(images), mnist.encode_idx(labels)
        contents |= zip(mnist.FILES[split], encoded, strict=True)
    return contents


def write(folder: Path, train: int = TRAIN, test: int = TEST) -> dict[str, str]:
    """Write the files and SHA256SUMS as the download stage does; returns the digests."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = files(train, test)
    digests = {name: sha256(content) for name, content in contents.items()}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / mnist.DIGESTS).write_bytes(mnist.encode_digests(digests))
    return digests
