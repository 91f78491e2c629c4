"""All that the next epoch depends on, as tensors that a safetensors file can hold."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from stages.common.tables import History
from stages.model.network import Network
from stages.training.optimizer import Optimizer

HISTORY, NETWORK, OPTIMIZER = "history", "network.", "optimizer."


def snapshot(network: Network, optimizer: Optimizer, rows: Sequence[History]) -> dict[str, Tensor]:
    """The weights, the optimizer's tensors by the number of their parameter, and the rows of
    history of this epoch."""
    tensors = {HISTORY: torch.tensor(rows, dtype=torch.float64)}  # exact for counts to 2**53
    tensors |= {NETWORK + name: tensor for name, tensor in network.state_dict().items()}
    for number, values in optimizer.state_dict()["state"].items():
        for name, tensor in values.items():
            tensors[f"{OPTIMIZER}{number}.{name}"] = tensor
    return {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}


def restore(tensors: Mapping[str, Tensor], network: Network, optimizer: Optimizer) -> list[History]:
    """The inverse of `snapshot`: set the network and the optimizer, return the rows."""
    network.load_state_dict({name: tensors[NETWORK + name] for name in network.state_dict()})
    state: dict[int, dict[str, Tensor]] = {}
    parameters = list(network.parameters())
    for key, tensor in tensors.items():
        if key.startswith(OPTIMIZER):
            number, name = key.removeprefix(OPTIMIZER).split(".")
            values = state.setdefault(int(number), {})
            values[name] = in_layout_of(parameters[int(number)], tensor)
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    return [
        History(int(epoch), int(batch), int(step), *numbers)
        for epoch, batch, step, *numbers in tensors[HISTORY].tolist()
    ]


def in_layout_of(parameter: Tensor, tensor: Tensor) -> Tensor:
    """The tensor in the parameter's order in memory, if it has its shape: another order could
    change the bits of the next step."""
    same = parameter.shape == tensor.shape
    return torch.empty_like(parameter, requires_grad=False).copy_(tensor) if same else tensor
