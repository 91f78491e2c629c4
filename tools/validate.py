"""Check all of params.yaml, before DVC runs anything.

    python -m tools.validate

A stage checks its own group when it starts. By then DVC has removed the outputs of that stage, and
may have run the stages before it for minutes. Prints nothing if all is well; else a line for each
mistake, and exits with 1.
"""

from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path

from stages.common import params
from stages.common.errors import UserError, run
from stages.common.images import ImageFormat
from stages.download import DownloadParams
from stages.evaluate import EvaluateParams
from stages.model.network import NetworkConfig
from stages.plot import PlotParams
from stages.train import TrainParams
from tools.git import PARAMS

GROUPS: dict[str, type[params.Params]] = {
    "download": DownloadParams,
    "images": ImageFormat,
    "model": NetworkConfig,
    "train": TrainParams,
    "evaluate": EvaluateParams,
    "plot": PlotParams,
}


def main() -> None:
    """Read each group, and report all mistakes together."""
    ArgumentParser(
        prog="python -m tools.validate", description="Check all of params.yaml."
    ).parse_args()
    if found := dict.fromkeys(mistakes(Path(PARAMS))):
        raise UserError("\n".join(found))


def mistakes(path: Path) -> Iterator[str]:
    """What each stage would say of its group, or all of them of the file."""
    for group, model in GROUPS.items():
        try:
            params.load(path, group, model)
        except UserError as error:
            yield str(error)


if __name__ == "__main__":
    run(main)
