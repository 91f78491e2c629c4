"""Run stages.train, but keep no progress on disk. This shows what keeping it costs.

python -m benchmarks.without_progress takes the arguments of python -m stages.train.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages import train
from stages.common import errors
from stages.training import progress


class NoProgress:
    """Stands in for the progress on disk: it is empty and stays empty."""

    epochs: tuple[progress.Tensors, ...] = ()

    def keep(self, _epoch: int, _tensors: progress.Tensors) -> None:
        """Do nothing."""


@contextmanager
def no_progress(_folder: Path, _run: dict[str, Any]) -> Iterator[NoProgress]:
    """Takes the place of `progress.kept`."""
    yield NoProgress()


if __name__ == "__main__":
    progress.kept = no_progress  # type: ignore[assignment]
    errors.run(train.main)
