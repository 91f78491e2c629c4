import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from stages.common.errors import UserError
from tools.prepare import Grey, prepare

Colour = tuple[int, ...] | int
Box = tuple[int, int, int, int]  # left, top, right, bottom


def seven(mode: str = "L", ground: Colour = 255, ink: Colour = 0) -> Image.Image:
    """A seven, or something like it, not in the middle."""
    picture = Image.new(mode, (300, 200), ground)
    ImageDraw.Draw(picture).line([(110, 60), (190, 60), (150, 160)], fill=ink, width=12)
    return picture


def boxes(*places: Box) -> Image.Image:
    """Black boxes on white."""
    picture = Image.new("L", (200, 200), 255)
    for place in places:
        picture.paste(0, place)
    return picture


REFERENCE = prepare(seven()).image


def difference(picture: Image.Image) -> float:
    """The mean difference from the seven, a fraction of its mean ink."""
    seen = prepare(picture).image
    return float(np.abs(seen.astype(float) - REFERENCE).mean() / REFERENCE.mean())


def size(seen: Grey) -> tuple[int, int]:
    """Height and width of the ink."""
    rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_a_picture_like_those_of_mnist_is_taken_as_it_is(mode: str) -> None:
    image = np.zeros((28, 28), np.uint8)
    image[4:20, 4:8], image[6:20, 12:20] = 255, 40
    seen, several = prepare(Image.fromarray(image).convert(mode))
    np.testing.assert_array_equal(seen, image)
    assert not several
    image[6:20, 12:20] = 255
    assert prepare(Image.fromarray(image).convert(mode)).several


def test_any_other_picture_of_28_pixels_is_prepared() -> None:
    image = np.zeros((28, 28), np.uint8)
    image[3:9, 2:6] = 255
    for other in (255 - image, np.stack([image, image, 0 * image], axis=2)):
        assert size(prepare(Image.fromarray(other)).image) == (20, 13)


@pytest.mark.parametrize(
    "picture",
    [
        seven("RGB", (255, 255, 255), (255, 255, 0)),  # only blue differs
        seven("RGBA", (0, 0, 0, 0), (0, 0, 0, 128)),  # black on nothing
        seven("RGBA", (0, 0, 0, 0), (255, 255, 255, 255)),  # white on nothing
        Image.fromarray(np.asarray(seven()).astype(np.uint16) * 256),
    ],
)
def test_colours_make_no_difference(picture: Image.Image) -> None:
    assert difference(picture) == 0


def test_place_and_size_make_little_difference() -> None:
    moved = Image.new("L", (300, 200), 255)
    moved.paste(seven(), (-109, -50))
    assert difference(moved) == 0
    for width, height in ((75, 50), (2400, 1600)):
        assert difference(seven().resize((width, height), Image.Resampling.BICUBIC)) < 0.2


def test_the_shape_is_kept_and_the_longer_side_is_20_pixels() -> None:
    for width, height, expected in ((60, 30, (10, 20)), (1, 160, (20, 1))):
        assert size(prepare(boxes((10, 20, 10 + width, 20 + height))).image) == expected


def test_a_thin_line_is_as_dark_as_in_mnist() -> None:
    picture = Image.new("L", (600, 600), 255)
    ImageDraw.Draw(picture).line([(100, 100), (500, 100), (300, 500)], fill=0, width=3)
    assert prepare(picture).image.max() == 255


def test_the_centre_of_mass_is_in_the_middle_or_as_near_as_the_digit_fits() -> None:
    seen = prepare(boxes((10, 10, 30, 90), (10, 10, 80, 30))).image  # an L upside down
    assert ndimage.center_of_mass(seen) == pytest.approx((14, 14), abs=0.5)
    seen = prepare(boxes((48, 0, 52, 200), (0, 180, 100, 200))).image  # a heavy end
    assert size(seen) == (20, 10)


def test_a_second_stroke_is_part_of_the_digit_and_dust_is_not() -> None:
    picture = seven()
    for place in ((5, 5), (290, 190), (20, 150)):
        picture.paste(0, (*place, place[0] + 3, place[1] + 3))
    assert difference(picture) == 0
    picture.paste(0, (200, 20, 240, 30))
    assert size(prepare(picture).image)[1] > size(REFERENCE)[1]


@pytest.mark.parametrize(
    "picture",
    [Image.new("RGBA", (300, 200)), seven(ground=255, ink=235)],
)
def test_a_picture_with_nothing_on_it_is_refused(picture: Image.Image) -> None:
    with pytest.raises(UserError):
        prepare(picture)


@pytest.mark.parametrize(
    ("second", "several"),
    [
        ((150, 60, 155, 100), True),  # half as high
        ((150, 61, 155, 100), False),  # too low
        ((39, 102, 79, 182), False),  # the middle halves overlap
        ((41, 102, 81, 182), True),  # they do not
    ],
)
def test_more_than_one_digit_is_high_parts_side_by_side(second: Box, several: bool) -> None:
    assert prepare(boxes((20, 20, 60, 100), second)).several == several


def test_other_images_have_the_same_share_of_ink_and_colours_stay() -> None:
    assert size(prepare(seven(), (56, 70, 1)).image) == (40, 32)
    seen, _ = prepare(seven(), (56, 70, 1))
    assert seen.shape == (56, 70)
    assert ndimage.center_of_mass(seen) == pytest.approx((28, 35), abs=0.6)
    picture = seven("RGB", (200, 30, 20), (0, 90, 250))
    seen, several = prepare(picture, (20, 30, 3))
    np.testing.assert_array_equal(seen, np.asarray(picture.resize((30, 20))))
    assert not several
