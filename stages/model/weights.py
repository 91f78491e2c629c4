"""Weights files: a network's tensors and its description, in one safetensors file.

The description holds the network's config, the format of its images with their normalisation, and
its layers. With the code of stages/model/network.py the file is enough to predict. The format holds
numbers only, so that reading someone else's file cannot run code.
"""

from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from stages.common import files, inputs
from stages.common.errors import UserError
from stages.common.images import ImageFormat
from stages.common.params import Params
from stages.model.network import Network, NetworkConfig

REMEDY = "make it with `dvc repro train`"
METADATA = "network"  # the only key there: with several, the format writes them in random order


class Description(Params):
    """What a weights file says of its network."""

    model: NetworkConfig
    images: ImageFormat
    layers: dict[str, str]  # each as PyTorch prints it, such as `conv1`: `Conv2d(1, 10, ...)`


def save(path: Path, network: Network) -> None:
    """Write the network's float32 tensors, in PyTorch's shapes, and its config as JSON.

    Raises:
        UserError: a weight is not a finite number; nothing is written.
    """
    tensors = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise UserError(f"{path}: {name} is no longer finite: lower train.lr, and train again")
    description = Description(
        model=network.config, images=network.images, layers=describe_layers(network)
    )
    text = files.canonical_json(description.model_dump()).decode()
    files.write(path, to_bytes(tensors, metadata={METADATA: text}))


def describe_layers(network: Network) -> dict[str, str]:
    """Each layer as PyTorch prints it. What a `forward` of one's own does is not in it."""
    return {name: str(layer) for name, layer in network.named_children()}


def load(path: Path) -> Network:
    """Rebuild the network, ready to predict: in eval mode.

    Raises:
        UserError: the file is missing, is not safetensors, was cut short, is of other layers than
            the code has now, or does not hold the tensors that its own description promises.
    """
    try:
        inputs.read(path)
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except FileNotFoundError:
        raise UserError(f"{path}: not found; {REMEDY}, or get it with `dvc pull`") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a whole safetensors file ({error}); {REMEDY}") from None
    try:
        description = Description.model_validate_json(metadata.get(METADATA, ""))
    except ValidationError:
        raise UserError(
            f"{path}: its metadata does not describe a network of this project; {REMEDY}"
        ) from None
    network = Network(description.model, description.images)
    theirs, ours = description.layers, describe_layers(network)
    if other := [name for name in theirs | ours if theirs.get(name) != ours.get(name)]:
        name = other[0]
        raise UserError(
            f"{path}: {name} is {theirs.get(name, 'no layer')} there, but"
            f" {ours.get(name, 'no layer')} in stages/model/network.py; use the code of the commit"
            f" that made the file, or {REMEDY}"
        )
    held, expected = _layout(tensors), _layout(network.state_dict())
    if held != expected:
        raise UserError(f"{path}: holds the tensors {held}, but its metadata describe {expected}")
    network.load_state_dict(tensors)
    return network.requires_grad_(False).eval()


def _layout(tensors: dict[str, Tensor]) -> dict[str, str]:
    return {name: f"{tensor.dtype} {tuple(tensor.shape)}" for name, tensor in tensors.items()}


def checkpoint_name(epoch: int) -> str:
    """`epoch-03.safetensors` for the weights after the third epoch."""
    return f"epoch-{epoch:02}.safetensors"


def checkpoint_epoch(path: Path) -> int:
    """3 for a file of that name."""
    return int(path.stem.removeprefix("epoch-"))


def list_checkpoints(folder: Path) -> list[Path]:
    """The weights after each epoch, in order.

    Raises:
        UserError: there are none.
    """

    def look() -> list[Path]:
        return sorted(folder.glob("epoch-[0-9]*.safetensors"), key=checkpoint_epoch)

    checkpoints = look()
    inputs.remember(lambda: {str(folder): look()})
    if not checkpoints:
        raise UserError(f"{folder}: holds no checkpoints; {REMEDY}")
    return checkpoints
