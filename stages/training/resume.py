"""A training that was killed goes on after its last finished epoch.

DVC deletes the outputs of a stage before it runs the stage. So a folder of its own keeps a file
for each finished epoch: `epoch-01.safetensors` and so on, with all that the next epoch depends on.
Its metadata hold the fingerprint of its run and the SHA-256 of its tensors. A
file that does not fit is not used: its epoch is trained again. A run that ends well removes them.
"""

import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from stages.common import files, inputs
from stages.common.errors import UserError
from stages.common.tables import History
from stages.model import numerics, weights
from stages.model.network import Network

METADATA = "run"  # the only metadata key: with several, the format writes them in random order
HISTORY, NETWORK, OPTIMIZER = "history", "network.", "optimizer."


def make_fingerprint(**given: object) -> dict[str, Any]:
    """What decides the bytes of a run: what is `given` (values that JSON can hold), the code of
    this package as imported, the versions of the libraries, and the settings of the arithmetic."""
    return {
        **given,
        "code": inputs.code(),
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": torch.__version__,
        },
        "settings": {name: os.environ.get(name) for name in numerics.SETTINGS},
    }


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let no other process train with this folder. A killed process loses the lock.

    Raises:
        UserError: another process has the lock, the folder or the lock is a link that leads out of
            the project, or git tracks what is in the folder.
    """
    lock = folder / "lock"
    files.refuse_link_outside(lock)
    _refuse_tracked(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(lock, timeout=0).acquire()
    except Timeout:
        raise UserError(
            f"{folder}: another process is training here; wait until it ends, or end it"
            " (`pgrep -af stages.train` lists it)"
        ) from None
    with held:
        try:
            yield
        except SystemExit:  # by Ctrl-C or SIGTERM
            print(f"Stopped. {folder} keeps each finished epoch: the next run goes on after them")
            raise


def _refuse_tracked(folder: Path) -> None:
    """What came with a commit may be of any training."""
    command = ["git", "--literal-pathspecs", "ls-files", "--", str(folder)]
    with suppress(FileNotFoundError):  # there is no git, and so no commit
        listed = subprocess.run(command, capture_output=True, check=False).stdout.decode()
        if listed:
            raise UserError(
                f"{folder}: git tracks {listed.splitlines()[0]}, and training would go on from what"
                f" someone committed; `git rm -r --cached {folder}`, and commit that"
            )


def finished_epochs(folder: Path, fingerprint: Mapping[str, Any]) -> list[bytes]:
    """What `keep` kept of each epoch of this run, for `restore`. Prints where training goes on,
    and why it does not use what does not fit."""
    finished: list[bytes] = []
    for epoch in count(1):
        path = folder / weights.checkpoint_name(epoch)
        if not path.exists():
            break
        try:
            finished.append(_read(path, fingerprint))
        except ValueError as error:
            print(f"Training again from epoch {epoch}: {path} {error}")
            break
    if finished:
        print(f"Resuming after epoch {len(finished)}")
    return finished


def _read(path: Path, fingerprint: Mapping[str, Any]) -> bytes:
    """The tensors in a file as bytes, without its metadata.

    Raises:
        ValueError: the file is of another run, or damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            stored = json.loads(file.metadata()[METADATA])
        # Its tensors are read, not mapped into memory: Windows removes no file that is mapped.
        content = to_bytes(from_bytes(path.read_bytes()))  # without the metadata
        whole = files.sha256(content) == stored.pop("sha256")
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise ValueError("is damaged")
    if changed := [name for name in fingerprint if stored.get(name) != fingerprint[name]]:
        raise ValueError(f"is of a run with other {', '.join(changed)}")
    return content


def keep(
    folder: Path,
    epoch: int,
    fingerprint: Mapping[str, Any],
    network: Network,
    optimizer: torch.optim.Optimizer,
    rows: Sequence[History],
) -> None:
    """Keep the state after an epoch: the weights, the optimizer's tensors by the number of their
    parameter, and the rows of history of this epoch."""
    tensors = {HISTORY: torch.tensor(rows, dtype=torch.float64)}  # exact for counts to 2**53
    tensors |= {NETWORK + name: tensor for name, tensor in network.state_dict().items()}
    for number, values in optimizer.state_dict()["state"].items():
        tensors |= {f"{OPTIMIZER}{number}.{name}": tensor for name, tensor in values.items()}
    tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    described = {**fingerprint, "sha256": files.sha256(to_bytes(tensors))}
    content = to_bytes(tensors, {METADATA: files.canonical_json(described).decode()})
    files.write(folder / weights.checkpoint_name(epoch), content)


def restore(content: bytes, network: Network, optimizer: torch.optim.Optimizer) -> list[History]:
    """Set the network and the optimizer to the state after an epoch. Gives its rows of history."""
    tensors = from_bytes(content)
    network.load_state_dict({name: tensors[NETWORK + name] for name in network.state_dict()})
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith(OPTIMIZER):  # such as `optimizer.3.momentum_buffer`
            number, name = key.removeprefix(OPTIMIZER).split(".")
            state.setdefault(int(number), {})[name] = _in_layout_of(parameters[int(number)], tensor)
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    return [
        History(int(epoch), int(batch), int(step), *numbers)
        for epoch, batch, step, *numbers in tensors[HISTORY].tolist()
    ]


def _in_layout_of(parameter: Tensor, tensor: Tensor) -> Tensor:
    """The tensor in the parameter's order in memory, if it has its shape: another order could
    change the bits of the next step."""
    same = parameter.shape == tensor.shape
    return torch.empty_like(parameter, requires_grad=False).copy_(tensor) if same else tensor


def clear(folder: Path) -> None:
    """Remove what is kept, with temporary files that a killed process left."""
    for path in folder.glob("*epoch-*.safetensors*"):
        path.unlink()
