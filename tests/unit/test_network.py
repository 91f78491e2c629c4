import pytest
import torch

from stages.common.images import ImageFormat
from stages.model.network import Network, NetworkConfig

SHAPES = {
    "conv1.weight": (10, 1, 5, 5),
    "conv1.bias": (10,),
    "conv2.weight": (20, 10, 5, 5),
    "conv2.bias": (20,),
    "fc1.weight": (50, 320),
    "fc1.bias": (50,),
    "fc2.weight": (10, 50),
    "fc2.bias": (10,),
}


def test_the_tensors_have_their_names_and_shapes(
    config: NetworkConfig, image_format: ImageFormat
) -> None:
    tensors = Network(config, image_format).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == SHAPES
    assert sum(tensor.numel() for tensor in tensors.values()) == 21_840


def test_the_outputs_are_log_probabilities_of_ten_digits(
    config: NetworkConfig, image_format: ImageFormat
) -> None:
    outputs = Network(config, image_format)(torch.rand(3, 1, 28, 28))
    assert outputs.shape == (3, 10)
    torch.testing.assert_close(outputs.exp().sum(dim=1), torch.ones(3))


@pytest.mark.parametrize("kernel_size", [1, 4, 9])
def test_every_allowed_kernel_size_fits(
    config: NetworkConfig, image_format: ImageFormat, kernel_size: int
) -> None:
    network = Network(config.model_copy(update={"kernel_size": kernel_size}), image_format)
    assert network(torch.rand(2, 1, 28, 28)).shape == (2, 10)
