import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from stages.common.errors import UserError
from tests.support import tiny
from tools.prepare import Grey, prepare

Colour = tuple[int, ...] | int


def drawn(
    mode: str = "L", ground: Colour = 255, ink: Colour = 0, size: tuple[int, int] = (300, 200)
) -> Image.Image:
    """A seven, or something like it, not in the middle."""
    picture = Image.new(mode, size, ground)
    ImageDraw.Draw(picture).line([(110, 60), (190, 60), (150, 160)], fill=ink, width=12)
    return picture


def drawn_in_16_bits() -> Image.Image:
    return Image.fromarray(np.asarray(drawn()).astype(np.uint16) * 256)


def image_of(picture: Image.Image) -> Grey:
    """What the network sees of the picture."""
    return prepare(picture).image


REFERENCE = image_of(drawn())


def difference(seen: Grey, reference: Grey = REFERENCE) -> float:
    """The mean difference of two pictures, a fraction of the mean ink."""
    return float(np.abs(seen.astype(float) - reference).mean() / reference.mean())


def box(seen: Grey) -> tuple[int, int]:
    """Height and width of the ink."""
    rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_a_picture_like_those_of_mnist_is_taken_as_it_is(mode: str) -> None:
    images, _ = tiny.digits(3, seed=5)
    images[:, [0, -1]] = images[:, :, [0, -1]] = 0  # black at the edges, as MNIST's are
    for image in images:
        seen = image_of(Image.fromarray(image).convert(mode))
        np.testing.assert_array_equal(seen, image)


def test_any_other_picture_of_28_pixels_is_prepared() -> None:
    image = np.zeros((28, 28), np.uint8)
    image[3:9, 2:6] = 255
    for other in (255 - image, np.stack([image, image, 0 * image], axis=2)):
        assert box(image_of(Image.fromarray(other))) == (20, 13)


@pytest.mark.parametrize(
    "picture",
    [
        drawn(ground=0, ink=255),
        drawn(ground=90, ink=140),
        drawn("1", ground=1, ink=0),
        drawn("RGB", (255, 255, 255), (200, 0, 0)),
        drawn("RGB", (0, 150, 0), (255, 20, 0)),  # equally bright
        drawn("RGBA", (0, 0, 0, 0), (0, 0, 0, 255)),
        drawn("RGBA", (0, 0, 0, 0), (255, 255, 255, 255)),  # white on nothing
        drawn("RGBA", (255, 255, 255, 0), (255, 255, 0, 255)),
        drawn("LA", (0, 0), (0, 255)),
        drawn("CMYK", (0, 0, 0, 0), (0, 0, 0, 255)),
        drawn("RGB", (255, 255, 255), (20, 30, 90)).quantize(4),
        drawn_in_16_bits(),
    ],
)
def test_colours_make_no_difference(picture: Image.Image) -> None:
    np.testing.assert_array_equal(image_of(picture), REFERENCE)


def test_what_is_half_transparent_is_seen_as_on_paper() -> None:
    assert difference(image_of(drawn("RGBA", (255, 255, 255, 0), (0, 0, 0, 128)))) == 0


def test_where_it_is_makes_no_difference() -> None:
    for dx, dy in ((-109, -50), (0, 30), (100, 0)):
        moved = Image.new("L", (300, 200), 255)
        moved.paste(drawn(), (dx, dy))
        np.testing.assert_array_equal(image_of(moved), REFERENCE)


@pytest.mark.parametrize("factor", [0.25, 0.5, 3, 8])
def test_size_makes_little_difference(factor: float) -> None:
    picture = drawn()
    size = (round(picture.width * factor), round(picture.height * factor))
    assert difference(image_of(picture.resize(size, Image.Resampling.BICUBIC))) < 0.2


def test_the_shape_is_kept_and_the_longer_side_is_20_pixels() -> None:
    for size, expected in {(30, 60): (20, 10), (60, 30): (10, 20), (3, 300): (20, 1)}.items():
        picture = Image.new("L", (400, 400), 255)
        picture.paste(0, (10, 20, 10 + size[0], 20 + size[1]))
        seen = image_of(picture)
        assert box(seen) == expected
        assert seen.max() == 255


def test_the_centre_of_mass_is_in_the_middle() -> None:
    picture = Image.new("L", (100, 100), 255)
    picture.paste(0, (10, 10, 30, 90))
    picture.paste(0, (10, 10, 80, 30))  # an L upside down
    assert ndimage.center_of_mass(image_of(picture)) == pytest.approx((14, 14), abs=0.5)


def test_a_heavy_end_does_not_push_the_digit_out_of_the_field() -> None:
    picture = Image.new("L", (100, 200), 255)
    picture.paste(0, (48, 0, 52, 200))
    picture.paste(0, (0, 180, 100, 200))
    assert box(image_of(picture)) == (20, 10)


def test_a_thin_line_is_as_dark_as_in_mnist() -> None:
    picture = Image.new("L", (600, 600), 255)
    ImageDraw.Draw(picture).line([(100, 100), (500, 100), (300, 500)], fill=0, width=3)
    assert image_of(picture).max() == 255


def test_dust_is_not_part_of_the_digit() -> None:
    picture = drawn()
    for place in ((5, 5), (290, 190), (20, 150)):
        picture.paste(0, (*place, place[0] + 3, place[1] + 3))
    np.testing.assert_array_equal(image_of(picture), REFERENCE)


def test_a_second_stroke_is_part_of_the_digit() -> None:
    picture = drawn()
    picture.paste(0, (200, 20, 240, 30))
    assert box(image_of(picture))[1] > box(REFERENCE)[1]


def test_a_small_digit_on_a_large_noisy_ground_is_found() -> None:
    field = np.full((900, 900), 200.0)
    field[600:800, 100:400] -= 120 * (np.asarray(drawn()) == 0)
    field += np.random.default_rng(6).normal(0, 12, field.shape)
    assert difference(image_of(grey(field))) < 0.1


def test_a_shadow_on_one_side_makes_little_difference() -> None:
    light = np.linspace(0.75, 1, 300)
    assert difference(image_of(grey((220 - 170 * (np.asarray(drawn()) == 0)) * light))) < 0.1


@pytest.mark.parametrize(
    "picture",
    [
        Image.new("L", (300, 200), 255),
        Image.new("RGB", (300, 200), "orange"),
        Image.new("RGBA", (300, 200), (0, 0, 0, 0)),
        Image.new("L", (28, 28), 255),
        Image.new("L", (28, 28), 0),
        Image.new("L", (1, 1), 255),
        Image.new("L", (1, 5000), 0),
        drawn(ground=255, ink=235),
    ],
)
def test_a_picture_with_nothing_on_it_is_refused(picture: Image.Image) -> None:
    with pytest.raises(UserError, match=r"^nothing is drawn on it$"):
        image_of(picture)


def grey(pixels: npt.NDArray[np.float64]) -> Image.Image:
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def page(*boxes: tuple[int, int, int, int]) -> Image.Image:
    """Black boxes (left, top, right, bottom) on white, 200 pixels wide and high."""
    picture = Image.new("L", (200, 200), 255)
    for box in boxes:
        picture.paste(0, box)
    return picture


@pytest.mark.parametrize(
    ("boxes", "several"),
    [
        ([(20, 20, 60, 100)], False),
        ([(20, 20, 60, 100), (62, 20, 100, 100)], True),
        ([(20, 20, 60, 100), (59, 102, 100, 190)], True),  # not on one line
        ([(20, 20, 60, 100), (150, 60, 155, 100)], True),  # a small one
        ([(20, 20, 60, 100), (150, 61, 155, 100)], False),  # too low
        ([(20, 20, 60, 100), (20, 102, 60, 182)], False),  # below it
        ([(20, 20, 60, 100), (39, 102, 79, 182)], False),  # the middle halves overlap
        ([(20, 20, 60, 100), (41, 102, 81, 182)], True),  # they do not
        ([(20, 20, 50, 60), (60, 20, 90, 60), (120, 20, 180, 190)], False),  # pieces beside it
        ([(20, 20, 60, 100), (70, 20, 71, 100)], False),  # dust
        ([(20, 20, 40, 90), (60, 20, 80, 90), (100, 20, 120, 90)], True),
    ],
)
def test_more_than_one_digit_is_high_parts_side_by_side(
    boxes: list[tuple[int, int, int, int]], several: bool
) -> None:
    assert prepare(page(*boxes)).several == several


def test_a_picture_like_those_of_mnist_may_hold_more_than_one_digit_too() -> None:
    image = np.zeros((28, 28), np.uint8)
    image[4:24, 4:8] = image[6:24, 12:20] = 255
    seen, several = prepare(Image.fromarray(image))
    np.testing.assert_array_equal(seen, image)
    assert several
