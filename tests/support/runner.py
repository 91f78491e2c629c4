"""Run the stages as DVC starts them, in a folder that the test chooses."""

import ast
import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from stages.common import params
from stages.common.files import sha256
from stages.common.params import Group
from tools.yaml_files import flatten, parse_yaml, set_values

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "stages").rglob("*.py"))
DVC: dict[str, Any] = parse_yaml((ROOT / "dvc.yaml").read_bytes())
STAGES: dict[str, Any] = DVC["stages"]
DATA = "data/MNIST/raw"


def write_params(folder: Path, **groups: dict[str, Any]) -> None:
    """params.yaml with the tests' values and some changed, as in `train={"lr": 0.1}`."""
    shutil.copy(ROOT / "params.yaml", folder)
    fix_params(folder / "params.yaml", flatten(groups))


def fix_params(path: Path, changed: Mapping[str, object]) -> None:
    """Give a copy of the project's params.yaml the values of the tests' own, and those changed."""
    keys = flatten(parse_yaml(path.read_bytes()))
    fixed = flatten(parse_yaml((ROOT / "tests/support/params.yaml").read_bytes()))
    set_values(path, {key: fixed[key] for key in fixed if key in keys} | dict(changed))


def load_params(group: str, model: type[Group], **changed: object) -> Group:
    """One group of the tests' parameters."""
    with TemporaryDirectory() as folder:
        write_params(Path(folder), **{group: changed})
        return params.load(Path(folder) / "params.yaml", group, model)


def run(folder: Path, stage: str, *options: str) -> None:
    """A stage's main() in this process, with the arguments from dvc.yaml."""
    _python, _m, module, *arguments = STAGES[stage]["cmd"].split()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", [module, *arguments, *options])
        importlib.import_module(module).main()


def spawn(folder: Path, stage: str) -> subprocess.CompletedProcess[str]:
    """A stage in a process of its own."""
    _python, *arguments = STAGES[stage]["cmd"].split()
    return python(*arguments, folder=folder)


def python(
    *arguments: str | Path,
    command: tuple[str, ...] = (sys.executable,),
    folder: Path = ROOT,
) -> subprocess.CompletedProcess[str]:
    """A new Python that finds the package `stages`."""
    return subprocess.run(
        [*command, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file in a folder."""
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def imported(source: Path) -> set[str]:
    """The dotted names that a source file imports: `a.b` for `from a import b`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def training_digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of all that training writes, temporary files and progress included."""
    parts = ("models/", "metrics/", ".progress/")
    return {
        name: digest
        for name, digest in digests(folder).items()
        if name.startswith(parts) and name != ".progress/lock"
    }


def change_code(folder: Path) -> None:
    """Add a comment to the code of the stage train."""
    path = folder / "stages/train.py"
    path.write_text(path.read_text() + "# edited\n")
