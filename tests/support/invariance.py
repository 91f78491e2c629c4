"""All stages on tiny data, with a Python, an environment and a umask that the test chooses."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.model import numerics
from tests.support import runner, tiny

RUN = "from tests.support import in_turn; in_turn.run()"


@dataclass
class Pipeline:
    """Tiny data, and how to run all stages on them."""

    data: Path
    sha256: dict[str, str]

    def __call__(
        self,
        folder: Path,
        code: str = RUN,
        python: Sequence[str] = (sys.executable,),
        umask: int = -1,
        **variables: str,
    ) -> dict[str, str]:
        """Run `code` in a new folder; the SHA-256 of all files there afterwards. Training takes six
        steps. Python inherits none of the settings that decide the bits."""
        folder.mkdir(parents=True)
        runner.write_params(
            folder,
            download={"sha256": self.sha256},
            train={"epochs": 2, "batch_size": 200, "lr": 0.05, "log_every": 2} | tiny.RECIPE,
            evaluate={"batch_size": 50},
        )
        inherited = {k: v for k, v in os.environ.items() if k not in numerics.SETTINGS}
        process = subprocess.run(
            [*python, "-c", code],
            cwd=folder,
            env=inherited
            | {"PYTHONPATH": str(runner.ROOT), "MNIST_DIR": str(self.data)}
            | variables,
            umask=umask,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stdout
        return runner.digests(folder)
