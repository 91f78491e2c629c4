"""YAML files, and others with such values: read safely, changed without losing their comments."""

import tomllib
from collections.abc import Mapping
from functools import reduce
from operator import getitem
from pathlib import Path, PurePath
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import to_json
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

DAMAGED = (YAMLError, ValueError, OverflowError, RecursionError)  # what any parser here may raise
MAPPING = TypeAdapter(dict[str, Any])


def parse_yaml(content: bytes) -> dict[str, Any]:
    """A YAML mapping. It is YAML 1.2, as for DVC, and nothing in it can run code. What JSON lacks,
    such as a date, is text.

    Raises:
        DAMAGED: the content is something else.
    """
    values = YAML(typ="safe", pure=True).load(content.decode())
    return MAPPING.validate_json(to_json(values, inf_nan_mode="strings"))


def parse_values(path: str, content: bytes) -> dict[str, Any]:
    """The mapping in a file of parameters or metrics: JSON or TOML by its name, or else YAML.

    Raises:
        DAMAGED: the content is something else.
    """
    match PurePath(path).suffix:
        case ".json":
            return MAPPING.validate_json(content)
        case ".toml":
            return tomllib.loads(content.decode())
    return parse_yaml(content)


def flatten(groups: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"train": {"lr": 0.1}}` as `{"train.lr": 0.1}`."""
    flat: dict[str, Any] = {}
    for key, value in groups.items():
        inner = isinstance(value, dict)
        flat |= flatten(value, f"{prefix}{key}.") if inner else {prefix + key: value}
    return flat


def set_values(path: Path, values: Mapping[str, object]) -> None:
    """Change values of a file that has them, and leave the rest as it is. A key is like
    `train.epochs`. Without values, the file keeps its bytes."""
    if not values:
        return
    editor = YAML()  # keeps the comments
    content = editor.load(path.read_text(encoding="utf-8"))
    for key, value in values.items():
        *groups, name = key.split(".")
        reduce(getitem, groups, content)[name] = value
    with path.open("w", encoding="utf-8", newline="\n") as file:
        editor.dump(content, file)
