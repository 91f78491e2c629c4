"""The progress of training, kept after each epoch, so that a run that was killed goes on.

DVC deletes a stage's outputs before it runs the stage, so the progress has a folder of its own:

    run.json               what decides the run's bytes, and the SHA-256 of the files below
    epoch-01.safetensors   the tensors after the first epoch, and so on
    lock                   locked while a process is training here
    process                the id of that process

run.json names an epoch's file only after that file is whole. A run that ends well removes all.
"""

import os
import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from stages.common import files
from stages.common.errors import UserError
from stages.model import numerics, weights

Tensors = dict[str, Tensor]

RUN = "run.json"
LOCK = "lock"
PROCESS = "process"


class Manifest(BaseModel):
    """The content of run.json."""

    run: dict[str, Any]
    epochs: list[str]  # the SHA-256 of each epoch's file


class Progress:
    """The epochs of one run that are kept in a folder."""

    def __init__(self, folder: Path, run: dict[str, Any]) -> None:
        """Load what an earlier process kept of the same `run`. Remove what it kept of any other
        run, and print why."""
        self._folder = folder
        self._manifest = Manifest(run=run, epochs=[])
        self._complete = True  # no epoch is missing in between
        self.epochs: Sequence[Tensors] = []  # those that were kept at the start
        try:
            self.epochs, self._manifest = _load(folder, run)
        except FileNotFoundError:
            self.clear()
        except (OSError, ValueError) as error:
            print(f"Starting afresh: the progress in {folder} cannot be used: {error}")
            self.clear()

    def keep(self, epoch: int, tensors: Tensors) -> None:
        """Keep the `tensors` after an epoch, unless they are kept already. If they cannot be
        written, warn and train on: after a kill, the next run goes on after the last epoch that
        was kept."""
        epochs = self._manifest.epochs
        if not self._complete or epoch <= len(epochs):
            return
        content = to_bytes(tensors)
        try:
            files.write(self._folder / weights.checkpoint_name(epoch), content)
            epochs.append(files.sha256(content))
            files.write(self._folder / RUN, files.canonical_json(self._manifest.model_dump()))
        except UserError as error:
            self._complete = False
            print(f"Warning: no more progress is kept: {error}", file=sys.stderr)

    def clear(self) -> None:
        """Remove what is kept. run.json goes first: without it nothing else is read."""
        (self._folder / RUN).unlink(missing_ok=True)
        for path in self._folder.glob("*epoch-*.safetensors*"):  # temporary files too
            path.unlink()


@contextmanager
def kept(folder: Path, run: dict[str, Any]) -> Iterator[Progress]:
    """The progress of `run` in `folder`, for this process alone. When the block ends well, the
    folder is removed.

    Raises:
        UserError: another process is training here; the message names it. Or something in the
            folder is a link that leads out of the project.
    """
    launchers = _launchers()
    with _locked(folder):
        progress = Progress(folder, run)
        if progress.epochs:
            print(f"Resuming after epoch {len(progress.epochs)}")
        yield progress
        # If DVC was killed meanwhile, nobody records the result in dvc.lock. Then the progress
        # stays, and the next run has only to write the outputs again.
        if _launchers() == launchers:
            progress.clear()
    with suppress(OSError):  # something is left in the folder
        folder.rmdir()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, and keep the id of this process beside it: Windows lets nobody read
    or write a file that is locked. A killed process loses the lock."""
    folder.mkdir(parents=True, exist_ok=True)
    lock, process = folder / LOCK, folder / PROCESS
    files.refuse_link_outside(lock)
    files.refuse_link_outside(process)
    try:
        held = FileLock(lock, timeout=0).acquire()
    except Timeout:
        raise UserError(
            f"{folder}: process {process.read_text(encoding='ascii')} is training here;"
            " wait until it ends, or end it"
        ) from None
    with held:
        process.write_text(str(os.getpid()), encoding="ascii")
        yield
        process.unlink()
        with suppress(PermissionError):  # Windows: then the end of this block removes it
            lock.unlink()


def _launchers() -> list[int]:
    """The ids of the processes that started this one: DVC, or a shell that DVC started. They
    change when DVC is killed, because an orphan gets another parent."""
    return [process.pid for process in psutil.Process().parents()[:2]]


def fingerprint(**inputs: object) -> dict[str, Any]:
    """What decides the bytes of a run: the `inputs` (values that JSON can hold), the code of this
    package as imported, the versions of the libraries, and the settings of the arithmetic."""
    package = Path(__file__).parents[1]
    paths = [Path(getattr(module, "__file__", None) or "") for module in sys.modules.values()]
    return {
        **inputs,
        "code": {
            path.relative_to(package).as_posix(): files.sha256(path.read_bytes())
            for path in paths
            if path.is_relative_to(package)
        },
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": torch.__version__,
        },
        "settings": {name: os.environ.get(name) for name in numerics.SETTINGS},
    }


def _load(folder: Path, run: dict[str, Any]) -> tuple[list[Tensors], Manifest]:
    """The tensors kept after each epoch of `run`, and its manifest.

    Raises:
        FileNotFoundError: nothing is kept.
        ValueError, OSError: it is of another run, or damaged.
    """
    files.refuse_link_outside(folder / RUN)
    content = (folder / RUN).read_bytes()
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError:
        raise ValueError(f"{RUN} is damaged") from None
    changed = [name for name, value in run.items() if manifest.run.get(name) != value]
    if changed:
        raise ValueError(f"it is of a run with other {', '.join(changed)}")
    contents = [
        _read(folder / weights.checkpoint_name(epoch), digest)
        for epoch, digest in enumerate(manifest.epochs, start=1)
    ]
    return [from_bytes(content) for content in contents], manifest


def _read(path: Path, digest: str) -> bytes:
    """The content of a file with that SHA-256. It is read, not mapped into memory: Windows removes
    no file that is mapped."""
    files.refuse_link_outside(path)
    content = path.read_bytes() if path.exists() else b""
    if files.sha256(content) != digest:
        raise ValueError(f"{path.name} is damaged")
    return content
