"""The MNIST files: their names, the IDX format, and the digests that show a damaged file."""

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from stages.common import files, inputs
from stages.common.errors import UserError
from stages.common.images import ImageFormat, Images, Labels

FILES = {  # split: images, labels
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
NAMES = [name for names in FILES.values() for name in names]
DIGESTS = "SHA256SUMS"  # beside the files, as `sha256sum --check` reads it
REPAIR = "get it again with `dvc repro --force download`"


def load(
    folder: Path, split: Literal["train", "test"], expected: ImageFormat | None = None
) -> tuple[Images, Labels]:
    """Read the images (n, height, width, channels) and labels (n,) of one split, both uint8. A file
    without a dimension for channels holds grey images.

    Raises:
        UserError: a file is missing, damaged, not what `SHA256SUMS` in the folder says, a link
            that leads out of the project, or holds other images than those that are expected.
    """
    digests = read_digests(folder)
    images_path, labels_path = (folder / name for name in FILES[split])
    images, labels = (_read_array(path, digests) for path in (images_path, labels_path))
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if labels.ndim != 1 or len(images) != len(labels) or not len(images) or images.ndim != 4:
        raise UserError(
            f"{images_path}: images {images.shape}, but labels {labels.shape} in {labels_path};"
            f" they must be (n, height, width) or (n, height, width, 3), and (n,); {REPAIR}"
        )
    if expected and images.shape[1:] != expected.shape:
        raise UserError(
            f"{images_path}: images of {images.shape[1:]}, but the group images of params.yaml says"
            f" height, width, channels {expected.shape}"
        )
    if expected and labels.max() >= expected.classes:
        index = int(np.argmax(labels >= expected.classes))
        raise UserError(
            f"{labels_path}: label {labels[index]} at index {index}, but with images.classes in"
            f" params.yaml, {expected.classes}, labels are from 0 to {expected.classes - 1}"
        )
    return images, labels


def held_out(labels: Labels, size: int) -> npt.NDArray[np.bool_]:
    """Choose `size` of the images with these labels, (n,), for validation: always the same ones.
    Each digit has the same share as in all images, rounded by largest remainder.

    Raises:
        UserError: nothing would be left to train on.
    """
    if size >= len(labels):
        raise UserError(
            f"params.yaml: train.validation_size: must be less than {len(labels)}, the number of"
            f" training images (got {size})"
        )
    shares = np.bincount(labels) * size / len(labels)
    counts = np.floor(shares).astype(int)
    counts[np.argsort(counts - shares, kind="stable")[: size - counts.sum()]] += 1
    random = np.random.default_rng(0)
    chosen = np.zeros(len(labels), dtype=bool)
    for digit, count in enumerate(counts):
        chosen[random.permutation(np.flatnonzero(labels == digit))[:count]] = True
    return chosen


def read_digests(folder: Path) -> dict[str, str]:
    """File name to SHA-256 (64 hexadecimal digits), as the download stage recorded them."""
    path = folder / DIGESTS
    content = _read(path)
    try:
        lines = content.decode("ascii").splitlines()
        return {name: digest for digest, name in (line.split("  ", maxsplit=1) for line in lines)}
    except ValueError:
        raise UserError(f"{path}: not a list of digests; {REPAIR}") from None


def encode_digests(digests: dict[str, str]) -> bytes:
    """The content of `SHA256SUMS`: a line a file, digest, two spaces, name."""
    return "".join(f"{digests[name]}  {name}\n" for name in NAMES).encode()


def _read_array(path: Path, digests: dict[str, str]) -> npt.NDArray[np.uint8]:
    content = _read(path)
    if files.sha256(content) != digests.get(path.name):
        raise UserError(f"{path}: damaged: its SHA-256 is not the one in {DIGESTS}; {REPAIR}")
    try:
        return decode_idx(content)
    except ValueError as error:
        raise UserError(f"{path}: {error}; {REPAIR}") from None


def _read(path: Path) -> bytes:
    files.refuse_link_outside(path)
    try:
        return inputs.read(path)
    except FileNotFoundError:
        raise UserError(f"{path}: not found; get the data with `dvc repro download`") from None


def decode_idx(content: bytes) -> npt.NDArray[np.uint8]:
    """Decode the IDX format: 0, 0, 8 (unsigned bytes), the number of dimensions; the sizes as
    big-endian 32-bit integers; the values. Source: LeCun, Cortes and Burges, "The MNIST database".

    Raises:
        ValueError: `content` is not IDX, or longer or shorter than its header says.
    """
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise ValueError("not an IDX file of unsigned bytes")
    dimensions = content[3]
    shape = np.frombuffer(content, ">u4", dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def encode_images(images: npt.NDArray[np.uint8]) -> bytes:
    """Images (..., channels) as IDX, without a dimension for a single channel."""
    return encode_idx(images[..., 0] if images.shape[-1] == 1 else images)


def encode_idx(array: npt.NDArray[np.uint8]) -> bytes:
    """The inverse of `decode_idx`."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.tobytes()
