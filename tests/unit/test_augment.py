import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from stages.common.images import ImageFormat
from stages.model import numerics
from stages.training import augment

OFF = {"degrees": 0.0, "translate": 0.0, "scale": 0.0, "shear": 0.0}
ALL = augment.Limits(degrees=10, translate=2, scale=0.1, shear=5)


def limits(**changed: float) -> augment.Limits:
    return augment.Limits(**{**OFF, **changed})


def image_format(mean: float, std: float, height: int = 28, width: int = 28) -> ImageFormat:
    return ImageFormat(height=height, width=width, channels=1, classes=10, mean=[mean], std=[std])


class Images(augment.Normalised):
    """Images that are normalised already, (n, 1, height, width)."""

    def __init__(self, images: torch.Tensor) -> None:
        self.images, self.device = images, images.device
        self.height, self.width = images.shape[2:]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, indices: torch.Tensor) -> torch.Tensor:
        return self.images[indices]


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Forty images (40, 1, 28, 28) of smooth random blobs, as far from the edge as digits are."""
    noise = torch.rand(40, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    noise[:, :, :6] = noise[:, :, -6:] = noise[..., :6] = noise[..., -6:] = 0
    return F.avg_pool2d(noise, 5, stride=1, padding=2)


def matrices(n: int, **changed: float) -> torch.Tensor:
    return augment.random_matrices(n, limits(**changed), 28, 28, numerics.generator(1))


def test_without_augmentation_the_network_sees_the_original_images(images: torch.Tensor) -> None:
    seen = augment.transform(Images(images), limits(), seed=1, epoch=1)
    assert torch.equal(seen(torch.tensor([3, 1])), images[[3, 1]])


def test_normalised_images_have_the_bits_that_evaluate_sees() -> None:
    pixels = np.arange(4 * 784, dtype=np.uint32).astype(np.uint8).reshape(4, 28, 28, 1)
    for mean, std in ((0.1307, 0.3081), (0.5, 0.1), (0.0, 1.0)):
        seen = augment.Normalised(pixels, image_format(mean, std), torch.device("cpu"))
        chosen = seen[torch.tensor([3, 1])]
        expected = torch.from_numpy(image_format(mean, std).normalise(pixels[[3, 1]]))
        assert torch.equal(chosen, expected)
        assert chosen.stride() == expected.stride()
        assert len(seen) == 4
        np.testing.assert_array_equal(seen.to_pixels(chosen), pixels[[3, 1]])


def test_a_transformed_image_depends_on_seed_epoch_and_image_alone(images: torch.Tensor) -> None:
    whole = augment.transform(Images(images), ALL, seed=1, epoch=2)(torch.arange(40))
    again = augment.transform(Images(images), ALL, seed=1, epoch=2)
    assert torch.equal(again(torch.tensor([7, 30])), whole[[7, 30]])
    assert torch.equal(again(torch.tensor([30])), whole[[30]])
    for seed, epoch in ((1, 3), (2, 2)):
        other = augment.transform(Images(images), ALL, seed, epoch)(torch.arange(40))
        assert all(not torch.equal(a, b) for a, b in zip(other, whole, strict=True))


def test_transforms_are_those_of_pytorchs_affine_grid(images: torch.Tensor) -> None:
    maps = augment.random_matrices(40, ALL, 28, 28, numerics.generator(1, 1, 1))
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    expected = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    before = images.clone()
    seen = augment.transform(Images(images), ALL, seed=1, epoch=1)(torch.arange(40))
    torch.testing.assert_close(seen, expected)
    assert torch.equal(images, before)


def test_a_shift_is_in_pixels() -> None:
    """x and y go from -1 to 1 over 28 pixels."""
    maps = matrices(1000, translate=3)
    assert torch.equal(maps[:, :, :2], torch.eye(2).expand(1000, 2, 2))
    shifts = maps[:, :, 2] * 14
    assert 2.9 < shifts.max() <= 3
    assert -3 <= shifts.min() < -2.9
    assert abs(np.corrcoef(shifts.T.numpy())[0, 1]) < 0.1


def test_a_rotation_keeps_lengths_and_stays_within_its_degrees() -> None:
    maps = matrices(1000, degrees=30)[:, :, :2]
    torch.testing.assert_close(maps @ maps.mT, torch.eye(2).expand(1000, 2, 2))
    angles = torch.rad2deg(torch.atan2(maps[:, 1, 0], maps[:, 0, 0]))
    assert 29 < angles.max() <= 30.001
    assert -30.001 <= angles.min() < -29


def test_a_scale_of_a_tenth_is_from_0_9_to_1_1_times_the_size() -> None:
    maps = matrices(1000, scale=0.1)
    assert not maps[:, 0, 1:].any()
    sizes = 1 / maps[:, 0, 0]
    assert torch.equal(maps[:, 0, 0], maps[:, 1, 1])
    assert 1.09 < sizes.max() <= 1.1001
    assert 0.8999 <= sizes.min() < 0.91


def test_a_shear_slants_upright_lines_by_its_degrees() -> None:
    maps = matrices(1000, shear=20)
    assert torch.equal(maps[:, 1], torch.tensor([0.0, 1, 0]).expand(1000, 3))
    slopes = maps[:, 0, 1]
    assert 0.95 * math.tan(math.radians(20)) < slopes.max() <= math.tan(math.radians(20.001))
    assert slopes.min() < -0.95 * math.tan(math.radians(20))


def test_pixels_from_beyond_the_edge_repeat_the_edge() -> None:
    ground = torch.full((40, 1, 28, 28), -0.4242)  # normalised black
    wild = augment.Limits(degrees=45, translate=9, scale=0.5, shear=9)
    seen = augment.transform(Images(ground), wild, seed=1, epoch=1)
    torch.testing.assert_close(seen(torch.arange(40)), ground)
