"""stages.train without the progress that it keeps for the next run, to measure its price.

python -m benchmarks.without_progress takes the arguments of python -m stages.train.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages import train
from stages.common import errors
from stages.training import progress


class Nothing:
    """Keeps nothing, and has nothing from earlier runs."""

    epochs: tuple[progress.Tensors, ...] = ()

    def append(self, tensors: progress.Tensors) -> None:
        """Forget them."""


@contextmanager
def nothing(_folder: Path, _run: dict[str, Any]) -> Iterator[Nothing]:
    """In the place of `progress.kept`."""
    yield Nothing()


if __name__ == "__main__":
    progress.kept = nothing  # type: ignore[assignment]
    errors.run(train.main)
