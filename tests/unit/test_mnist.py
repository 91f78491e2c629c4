import re
from pathlib import Path

import numpy as np
import pytest

from stages.common import mnist
from stages.common.errors import UserError
from stages.common.files import sha256
from stages.common.images import ImageFormat, mosaic
from tests.support import posix, tiny

IMAGES, LABELS = mnist.FILES["test"]
CONTENTS = tiny.files()

ONE_ROW = bytes.fromhex("00000803 00000002 00000001 00000003 010203 0405ff")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny.write(tmp_path)
    return tmp_path


def assert_named(folder: Path, name: str, fault: str) -> None:
    """Loading fails with one line that names the file and has this fault."""
    with pytest.raises(UserError) as error:
        mnist.load(folder, "test")
    (line,) = str(error.value).splitlines()
    assert str(folder / name) in line
    assert fault in line


def test_idx_is_a_header_with_the_shape_and_the_values() -> None:
    array = mnist.decode_idx(ONE_ROW)
    assert array.dtype == np.uint8
    assert array.tolist() == [[[1, 2, 3]], [[4, 5, 255]]]
    assert mnist.encode_idx(array) == ONE_ROW


def test_load_returns_the_images_and_labels_of_a_split(folder: Path) -> None:
    for array, expected in zip(mnist.load(folder, "test"), tiny.digits(tiny.TEST, 2), strict=True):
        np.testing.assert_array_equal(array, expected, strict=True)
    assert len(mnist.load(folder, "train")[0]) == tiny.TRAIN


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (IMAGES, b"\0\0\x08"),
        (IMAGES, CONTENTS[IMAGES][:-1]),
        (IMAGES, b"\0\0\x0d" + CONTENTS[IMAGES][3:]),  # 13 is float
        (IMAGES, mnist.encode_idx(np.zeros(tiny.TEST, np.uint8))),
        (LABELS, mnist.encode_idx(np.zeros(tiny.TEST - 1, np.uint8))),
    ],
)
def test_a_file_that_holds_no_images_or_not_a_label_for_each_is_named(
    folder: Path, name: str, content: bytes
) -> None:
    (folder / name).write_bytes(content)
    digests = mnist.read_digests(folder) | {name: sha256(content)}
    (folder / mnist.DIGESTS).write_bytes(mnist.encode_digests(digests))
    assert_named(folder, name, "get it again with `dvc repro --force download`")


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"width": 27}, "images of (28, 28, 1), but the group images of params.yaml says"),
        ({"classes": 9}, "label 9 at index 6, but with images.classes in params.yaml, 9,"),
    ],
)
def test_images_that_params_do_not_say_are_named(
    folder: Path, image_format: ImageFormat, changed: dict[str, int], fault: str
) -> None:
    expected = image_format.model_copy(update=changed)
    with pytest.raises(UserError, match=re.escape(fault)):
        mnist.load(folder, "test", expected)


def test_images_of_three_channels_have_a_fourth_dimension(folder: Path) -> None:
    colour = np.arange(tiny.TEST * 12 * 3, dtype=np.uint32).astype(np.uint8).reshape(-1, 3, 4, 3)
    content = mnist.encode_images(colour)
    (folder / IMAGES).write_bytes(content)
    digests = mnist.read_digests(folder) | {IMAGES: sha256(content)}
    (folder / mnist.DIGESTS).write_bytes(mnist.encode_digests(digests))
    np.testing.assert_array_equal(mnist.load(folder, "test")[0], colour)
    mean, std = [0.2, 0.4, 0.6], [0.1, 0.5, 1.0]
    expected = ImageFormat(height=3, width=4, channels=3, classes=10, mean=mean, std=std)
    normalised = expected.normalise(colour)
    assert normalised.shape == (tiny.TEST, 3, 3, 4)
    np.testing.assert_allclose(normalised[5, 1], (colour[5, :, :, 1] / 255 - 0.4) / 0.5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        (mnist.DIGESTS, None, "not found; get the data with `dvc repro download`"),
        (mnist.DIGESTS, b"not digests\n", "not a list of digests"),
        (IMAGES, None, "not found; get the data with `dvc repro download`"),
        (IMAGES, CONTENTS[IMAGES][:-1] + b"\1", "damaged: its SHA-256 is not the one"),
    ],
)
def test_a_missing_or_damaged_file_is_named(
    folder: Path, name: str, content: bytes | None, fault: str
) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    assert_named(folder, name, fault)


def test_a_file_without_a_digest_is_not_trusted(folder: Path) -> None:
    (folder / mnist.DIGESTS).write_bytes(b"")
    assert_named(folder, IMAGES, "damaged")


@posix.only
@pytest.mark.parametrize("name", [mnist.DIGESTS, IMAGES, LABELS])
def test_a_link_is_followed_in_the_project_and_refused_out_of_it_even_to_the_same_content(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC makes links into its cache with `cache.type symlink`."""
    (folder / "cache").mkdir()
    target = (folder / name).rename(folder / "cache" / name)
    (folder / name).symlink_to(Path("cache", name))
    monkeypatch.setenv("DVC_ROOT", str(folder))
    assert len(mnist.load(folder, "test")[0]) == tiny.TEST
    monkeypatch.setenv("DVC_ROOT", str(folder / "project"))
    assert_named(folder, name, f"a link to {target}, outside of the project")


def test_normalise_scales_then_subtracts_the_mean_then_divides(
    image_format: ImageFormat,
) -> None:
    images = np.zeros((2, 28, 28, 1), np.uint8)
    images[0, 0, :3, 0] = 0, 51, 255
    normalised = image_format.normalise(images)
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
    assert not mnist.held_out(labels, 0).any()


def test_held_out_images_are_from_all_over_the_file() -> None:
    labels = np.tile(np.arange(10, dtype=np.uint8), 100)
    (chosen,) = np.nonzero(mnist.held_out(labels, 100))
    assert abs(chosen.mean() - 500) < 100


def test_holding_out_all_images_is_refused() -> None:
    with pytest.raises(UserError, match=r"validation_size: must be less than 100, .* \(got 100\)$"):
        mnist.held_out(np.zeros(100, np.uint8), 100)


def test_a_mosaic_is_filled_row_by_row() -> None:
    images, _ = tiny.digits(6, seed=3)
    picture = mosaic(images, columns=4)
    np.testing.assert_array_equal(picture[:28], np.concatenate(list(images[:4]), axis=1))
    np.testing.assert_array_equal(picture[28:, :56], np.concatenate(list(images[4:]), axis=1))
    assert picture.shape == (56, 112, 1)
    assert not picture[28:, 56:].any()
