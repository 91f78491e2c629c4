"""Stochastic gradient descent as PyTorch computes it, without the wait for its compiler."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd


class SGD:
    """What `torch.optim.SGD` does, by the function that it calls, and with the parts of its
    interface that training uses. So any other optimizer of PyTorch can take its place.

    The first object of a class of torch.optim imports PyTorch's compiler, which nothing here uses:
    that is a quarter of the time until the first step.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        momentum: float = 0,
        weight_decay: float = 0,
        *,
        nesterov: bool = False,
    ) -> None:
        self._parameters: list[Tensor] = list(parameters)
        self._momentum_buffers: list[Tensor | None] = [None] * len(self._parameters)
        options = {"momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov}
        self.param_groups: list[dict[str, Any]] = [{"lr": lr, **options}]

    @torch.no_grad()
    def step(self) -> None:
        """Move each parameter against its gradient."""
        gradients: list[Any] = [parameter.grad for parameter in self._parameters]  # none is None
        (options,) = self.param_groups
        buffers = self._momentum_buffers  # `sgd` puts the first gradients in
        sgd(self._parameters, gradients, buffers, dampening=0, maximize=False, **options)

    def state_dict(self) -> dict[str, Any]:
        """What changes from step to step: by the number of the parameter, its momentum."""
        buffers = enumerate(self._momentum_buffers)
        state = {number: {"momentum_buffer": b} for number, b in buffers if b is not None}
        return {"state": state, "param_groups": self.param_groups}

    def load_state_dict(self, content: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        for number, values in content["state"].items():
            self._momentum_buffers[number] = values["momentum_buffer"]
        self.param_groups = content["param_groups"]


Optimizer = SGD | torch.optim.Optimizer
