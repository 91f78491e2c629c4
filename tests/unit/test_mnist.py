from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from stages.common import mnist
from stages.common.errors import UserError
from stages.common.files import sha256
from tests.support import posix, tiny

IMAGES, LABELS = mnist.FILES["test"]
CONTENTS = tiny.files()
AGAIN = "get it again with `dvc repro --force download`"

ONE_ROW = bytes.fromhex("00000803 00000002 00000001 00000003 010203 0405ff")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny.write(tmp_path)
    return tmp_path


def load_error(folder: Path) -> str:
    with pytest.raises(UserError) as error:
        mnist.load(folder, "test")
    return str(error.value)


def replace(folder: Path, name: str, content: bytes) -> None:
    """Put other content into a file and its digest into SHA256SUMS."""
    (folder / name).write_bytes(content)
    digests = mnist.read_digests(folder) | {name: sha256(content)}
    (folder / mnist.DIGESTS).write_bytes(mnist.encode_digests(digests))


def test_idx_is_a_header_with_the_shape_and_the_values() -> None:
    array = mnist.decode_idx(ONE_ROW)
    assert array.dtype == np.uint8
    assert array.tolist() == [[[1, 2, 3]], [[4, 5, 255]]]
    assert mnist.encode_idx(array) == ONE_ROW


@pytest.mark.parametrize("shape", [(0,), (7,), (0, 28, 28), (3, 28, 28)])
def test_encode_and_decode_are_inverse(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(mnist.decode_idx(mnist.encode_idx(array)), array, strict=True)


@pytest.mark.parametrize(("split", "n", "seed"), [("train", tiny.TRAIN, 1), ("test", tiny.TEST, 2)])
def test_load_returns_the_images_and_labels_of_a_split(
    folder: Path, split: Literal["train", "test"], n: int, seed: int
) -> None:
    for array, expected in zip(mnist.load(folder, split), tiny.digits(n, seed), strict=True):
        np.testing.assert_array_equal(array, expected, strict=True)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "empty"),
        (ONE_ROW[:2], "not an IDX file of unsigned bytes"),
        (ONE_ROW[:15], "not an IDX file of unsigned bytes"),
        (b"\0\0\x0d" + ONE_ROW[3:], "not an IDX file of unsigned bytes"),  # 13 is float
        (b"\x1f\x8b\x08" + ONE_ROW[3:], "not an IDX file of unsigned bytes"),  # gzip
        (ONE_ROW[:-1], "truncated: 21 bytes, but its header says 22"),
        (ONE_ROW + b"\0", "too long: 23 bytes, but its header says 22"),
        (CONTENTS[IMAGES][:1000], "truncated: 1,000 bytes, but its header says 156,816"),
        (ONE_ROW, "images of (1, 3), not 28x28"),
    ],
)
def test_a_damaged_file_is_named_with_its_fault(folder: Path, content: bytes, fault: str) -> None:
    replace(folder, IMAGES, content)
    assert load_error(folder) == f"{folder / IMAGES}: {fault}; {AGAIN}"


@pytest.mark.parametrize("labels", [np.zeros(199, np.uint8), np.zeros((200, 1), np.uint8)])
def test_each_image_needs_one_label(folder: Path, labels: mnist.Labels) -> None:
    replace(folder, LABELS, mnist.encode_idx(labels))
    assert load_error(folder) == (
        f"{folder / IMAGES}: 200 images, but {labels.size} labels in {folder / LABELS}; {AGAIN}"
    )


@pytest.mark.parametrize("label", [10, 11, 255])
def test_a_label_above_9_is_named_with_its_index(folder: Path, label: int) -> None:
    labels = np.arange(200, dtype=np.uint8) % 10
    labels[[17, 30]] = label
    replace(folder, LABELS, mnist.encode_idx(labels))
    assert load_error(folder) == (
        f"{folder / LABELS}: label {label} at index 17, allowed are 0 to 9; {AGAIN}"
    )


@pytest.mark.parametrize("position", [16, -1])  # the first and the last pixel
def test_a_flipped_bit_is_noticed(folder: Path, position: int) -> None:
    content = bytearray(CONTENTS[IMAGES])
    content[position] ^= 1
    (folder / IMAGES).write_bytes(content)
    assert load_error(folder) == (
        f"{folder / IMAGES}: damaged: its SHA-256 is not the one in SHA256SUMS; {AGAIN}"
    )


@pytest.mark.parametrize("name", [mnist.DIGESTS, IMAGES, LABELS])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert load_error(folder) == (
        f"{folder / name}: not found; get the data with `dvc repro download`"
    )


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert load_error(tmp_path / "no").startswith(f"{tmp_path / 'no' / mnist.DIGESTS}: not found;")


@pytest.mark.parametrize("content", [b"not digests\n", b"\n", b"\xff\xfe"])
def test_malformed_digests_are_named(folder: Path, content: bytes) -> None:
    (folder / mnist.DIGESTS).write_bytes(content)
    assert load_error(folder) == f"{folder / mnist.DIGESTS}: not a list of digests; {AGAIN}"


def test_a_file_without_a_digest_is_not_trusted(folder: Path) -> None:
    (folder / mnist.DIGESTS).write_bytes(b"")
    assert load_error(folder).startswith(f"{folder / IMAGES}: damaged:")


@posix.only
@pytest.mark.parametrize("name", [mnist.DIGESTS, IMAGES, LABELS])
def test_a_link_out_of_the_project_is_refused_even_to_the_same_content(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "project").mkdir()
    (folder / "elsewhere").mkdir()
    target = (folder / name).rename(folder / "elsewhere" / name)
    (folder / name).symlink_to(Path("elsewhere", name))
    monkeypatch.setenv("DVC_ROOT", str(folder / "project"))
    assert load_error(folder) == (
        f"{folder / name}: a link to {target}, outside of the project; put the file itself there"
        " (if DVC made the link: `dvc config cache.type copy`, then `dvc checkout --relink`)"
    )


@posix.only
@pytest.mark.parametrize("from_dvc", [True, False])
def test_a_link_inside_the_project_is_followed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, from_dvc: bool
) -> None:
    """DVC makes such links into its cache with `cache.type symlink`."""
    for name in (mnist.DIGESTS, IMAGES, LABELS):
        (folder / "cache").mkdir(exist_ok=True)
        target = (folder / name).rename(folder / "cache" / name)
        (folder / name).symlink_to(target)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    if from_dvc:
        monkeypatch.setenv("DVC_ROOT", str(folder))
    else:
        monkeypatch.chdir(folder)
    assert len(mnist.load(folder, "test")[0]) == tiny.TEST


@posix.only
@pytest.mark.parametrize(("target", "fault"), [("nowhere", "not found"), (IMAGES, "Too many")])
def test_a_link_to_nothing_or_to_itself_is_named(
    folder: Path, target: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(folder))
    (folder / IMAGES).unlink()
    (folder / IMAGES).symlink_to(target)
    with pytest.raises((UserError, OSError), match=fault) as error:
        mnist.load(folder, "test")
    assert IMAGES in str(error.value)


def test_normalise_scales_then_subtracts_the_mean_then_divides() -> None:
    images = np.zeros((2, 28, 28), np.uint8)
    images[0, 0, :3] = 0, 51, 255
    normalised = mnist.normalise(images, mean=0.1307, std=0.3081)
    assert normalised.shape == (2, 1, 28, 28)
    assert normalised.dtype == np.float32
    # (0 - 0.1307) / 0.3081, (0.2 - 0.1307) / 0.3081, (1 - 0.1307) / 0.3081
    np.testing.assert_allclose(
        normalised[0, 0, 0, :3], [-0.4242129, 0.2249270, 2.8214865], rtol=1e-6
    )
    assert np.all(normalised[1] == normalised[0, 0, 0, 0])


def test_held_out_images_are_always_the_same_and_each_digit_has_its_share() -> None:
    labels = np.repeat(np.arange(10, dtype=np.uint8), range(60, 160, 10))  # 1,050
    chosen = mnist.held_out(labels, 200)
    assert chosen.sum() == 200
    np.testing.assert_array_equal(chosen, mnist.held_out(labels, 200))
    shares = np.bincount(labels) * 200 / len(labels)
    assert (abs(np.bincount(labels[chosen]) - shares) < 1).all()


def test_held_out_images_are_from_all_over_the_file() -> None:
    labels = np.tile(np.arange(10, dtype=np.uint8), 100)
    (chosen,) = np.nonzero(mnist.held_out(labels, 100))
    assert abs(chosen.mean() - 500) < 100


@pytest.mark.parametrize("size", [0, 1, 99])
def test_validation_size_images_are_held_out(size: int) -> None:
    labels = np.array([3] * 60 + [5] * 40, np.uint8)
    assert mnist.held_out(labels, size).sum() == size


def test_holding_out_all_images_is_refused() -> None:
    with pytest.raises(UserError, match=r"validation_size: must be less than 100, .* \(got 100\)$"):
        mnist.held_out(np.zeros(100, np.uint8), 100)


def test_a_mosaic_is_filled_row_by_row() -> None:
    images, _ = tiny.digits(6, seed=3)
    picture = mnist.mosaic(images, columns=4)
    np.testing.assert_array_equal(picture[:28], np.concatenate(list(images[:4]), axis=1))
    np.testing.assert_array_equal(picture[28:, :56], np.concatenate(list(images[4:]), axis=1))
    assert picture.shape == (56, 112)
    assert not picture[28:, 56:].any()
