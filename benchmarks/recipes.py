"""The recipes that are measured: the one in params.yaml, and those in the folder recipes/.

A recipe is a file of lines `key=value`: each is an override of params.yaml, as `dvc exp run -S`
takes it. Lines that begin with # are comments.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from ruamel.yaml import YAML

from stages.common.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
DEFAULT, SPRINT, TUNED = "default", "sprint", "tuned"
OVERRIDE = re.compile(r"([a-z][\w.]*)=([\w.+-]+)")  # a word that no shell changes

Overrides = Mapping[str, object]  # train.epochs: 2, or its text


def read() -> dict[str, dict[str, str]]:
    """The overrides of each recipe. The default has none."""
    files = sorted((ROOT / "recipes").iterdir())
    return {DEFAULT: {}} | {path.name: parse(path) for path in files}


def parse(path: Path) -> dict[str, str]:
    """The overrides in one recipe file, as text.

    Raises:
        UserError: a line is neither an override nor a comment, or a key is there twice.
    """
    overrides: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line or line.startswith("#"):
            continue
        found = OVERRIDE.fullmatch(line)
        if not found:
            raise UserError(f"{path}: line {number}: must be key=value, without spaces: {line!r}")
        key, value = found.groups()
        if key in overrides:
            raise UserError(f"{path}: line {number}: {key} is there twice; keep one")
        overrides[key] = value
    return overrides


def apply(overrides: Overrides, source: Path, target: Path) -> None:
    """Write the parameter file `source`, with other values for some keys, to `target`."""
    yaml = YAML()
    content = yaml.load(source)
    for key, value in overrides.items():
        *groups, name = key.split(".")
        node = content
        for group in groups:
            node = node[group]
        node[name] = yaml.load(str(value))
    yaml.dump(content, target)
