"""The four stages one after the other, with the commands of dvc.yaml but in one process, so that
an emulator imports PyTorch once and one audit hook sees everything. Runs in a folder that holds
params.yaml."""

import runpy
import sys
from pathlib import Path

from ruamel.yaml import YAML

DVC_YAML = Path(__file__).parents[2] / "dvc.yaml"


def run() -> None:
    for stage in YAML(typ="safe", pure=True).load(DVC_YAML)["stages"].values():
        _python, _m, module, *arguments = stage["cmd"].split()
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    run()
