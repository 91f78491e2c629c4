"""The four stages one after the other in one process, with the arguments in dvc.yaml.

So an emulator imports PyTorch once, and one audit hook sees everything. The working directory
must hold params.yaml.
"""

import os
import runpy
import sys
import traceback
from pathlib import Path

from ruamel.yaml import YAML

DVC_YAML = Path(__file__).parents[2] / "dvc.yaml"
FORBIDDEN = {
    "pickle.find_class",  # unpickling anything but plain values
    "socket.connect",
    "socket.getaddrinfo",  # the look-up of a host's name
    "socket.gethostbyname",
    "socket.sendto",
}


def run() -> None:
    for stage in YAML(typ="safe", pure=True).load(DVC_YAML)["stages"].values():
        _python, _m, module, *arguments = stage["cmd"].split()
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)


def forbid_pickles_and_connections() -> None:
    """From now on, this process ends when it unpickles or connects; no `except` hides that."""
    sys.addaudithook(_forbid)


def _forbid(event: str, arguments: tuple[object, ...]) -> None:
    if event in FORBIDDEN:
        traceback.print_stack()
        print(f"Forbidden: {event}{arguments}", file=sys.stderr, flush=True)
        os._exit(1)
