"""The four stages one after the other in one process, with the arguments in dvc.yaml.

So an emulator imports PyTorch once, and one audit hook sees everything. The working directory
must hold params.yaml.
"""

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
