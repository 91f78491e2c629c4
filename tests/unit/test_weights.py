import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

from stages.common.errors import UserError
from stages.model import weights
from stages.model.network import Network


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def load_error(path: Path) -> str:
    with pytest.raises(UserError) as error:
        weights.load(path)
    return str(error.value)


def test_a_loaded_network_is_the_saved_one_bit_for_bit(path: Path, network: Network) -> None:
    weights.save(path, network)
    loaded = weights.load(path)
    assert loaded.config == network.config
    assert loaded.state_dict().keys() == network.state_dict().keys()
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, network.state_dict()[name])
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert not any(module.training for module in loaded.modules())


def test_the_same_network_gives_the_same_bytes(path: Path, network: Network) -> None:
    contents = set()
    for _ in range(10):  # several metadata keys would be in random order
        weights.save(path, network)
        contents.add(path.read_bytes())
    assert len(contents) == 1


def test_the_file_says_what_it_holds(path: Path, network: Network) -> None:
    weights.save(path, network)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    assert metadata.keys() == {"network"}
    described = json.loads(metadata["network"])
    assert described["model"] == network.config.model_dump()
    assert described["images"] == network.images.model_dump()
    assert described["layers"]["pool1"] == str(network.get_submodule("pool1"))
    assert shapes == {name: list(t.shape) for name, t in network.state_dict().items()}


def test_weights_that_are_not_numbers_are_not_written(path: Path, network: Network) -> None:
    network.requires_grad_(False).get_parameter("fc1.bias")[3] = float("inf")
    with pytest.raises(UserError, match=r"fc1\.bias is no longer finite: lower train\.lr"):
        weights.save(path, network)
    assert not path.exists()


def test_a_missing_file_is_named(path: Path) -> None:
    assert load_error(path) == (
        f"{path}: not found; make it with `dvc repro train`, or get it with `dvc pull`"
    )


@pytest.mark.parametrize("kept", [0, 100, -1])
def test_a_file_cut_short_is_named(path: Path, network: Network, kept: int) -> None:
    weights.save(path, network)
    path.write_bytes(path.read_bytes()[:kept])
    assert load_error(path).startswith(f"{path}: not a whole safetensors file (")
    assert load_error(path).endswith("); make it with `dvc repro train`")


@pytest.mark.parametrize("metadata", [None, {"network": "{}"}, {"network": "x"}])
def test_a_file_that_does_not_describe_its_network_is_refused(
    path: Path, network: Network, metadata: dict[str, str] | None
) -> None:
    path.write_bytes(save(contiguous(network), metadata))
    assert load_error(path) == (
        f"{path}: its metadata does not describe a network of this project; make it with"
        " `dvc repro train`"
    )


def test_tensors_of_another_network_are_refused(path: Path, network: Network) -> None:
    weights.save(path, network)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    path.write_bytes(save(contiguous(network) | {"fc2.weight": torch.zeros(10, 51)}, metadata))
    error = load_error(path)
    assert error.startswith(f"{path}: holds the tensors ")
    assert "'fc2.weight': 'torch.float32 (10, 51)'" in error
    assert "'fc2.weight': 'torch.float32 (10, 50)'" in error


def test_weights_of_other_layers_are_refused_also_where_no_shape_tells(
    path: Path, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights.save(path, network)
    layers = dict(network.named_children()) | {"relu1": torch.nn.Tanh()}
    monkeypatch.setattr("stages.model.network.layers", lambda _, __: layers)
    assert load_error(path).startswith(
        f"{path}: relu1 is ReLU() there, but Tanh() in stages/model/network.py; use the code of the"
    )


def contiguous(network: Network) -> dict[str, torch.Tensor]:
    return {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
