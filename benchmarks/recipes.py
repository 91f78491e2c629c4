"""The recipes that are measured: that of params.yaml, and those of the Makefile."""

import re
from collections.abc import Mapping
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent
DEFAULT, SPRINT, TUNED = "default", "sprint", "tuned"

Overrides = Mapping[str, object]  # train.epochs: 2, or its text


def read() -> dict[str, dict[str, str]]:
    """The overrides of each recipe."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return {DEFAULT: {}, SPRINT: parse(makefile, "SPRINT"), TUNED: parse(makefile, "TUNED")}


def parse(makefile: str, variable: str) -> dict[str, str]:
    """The `-S key=value` options that a variable of the Makefile holds.

    Raises:
        ValueError: there is no such variable, or it holds none.
    """
    found = re.search(rf"^{variable}\s*=((?:.*\\\n)*.*)$", makefile, re.MULTILINE)
    overrides = dict(re.findall(r"-S (\S+?)=(\S+)", found[1] if found else ""))
    if not overrides:
        raise ValueError(f"the Makefile has no {variable} with -S options")
    return overrides


def apply(overrides: Overrides, source: Path, target: Path) -> None:
    """Write the parameter file `source` with the `overrides` to `target`."""
    yaml = YAML()
    content = yaml.load(source)
    for key, value in overrides.items():
        *groups, name = key.split(".")
        node = content
        for group in groups:
            node = node[group]
        node[name] = yaml.load(str(value))
    yaml.dump(content, target)
