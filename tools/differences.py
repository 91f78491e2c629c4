"""What differs between two contents of a file of the pipeline, value by value."""

import csv
import io
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

from pydantic import TypeAdapter
from ruamel.yaml.error import YAMLError

from tools.dvc_files import LOCK, Lock, md5
from tools.yaml_files import flatten

SHOWN = 10  # values a file
ABSENT = "none"

_MAPPING = TypeAdapter(dict[str, Any])


def describe(path: str, committed: bytes | None, computed: bytes | None) -> list[str]:
    """A line for each value that is not the same in both, or that only one of them has. None is a
    file that is not there. A dvc.lock may list the same in another order: that gives no line."""
    before, after = (_read(path, content) for content in (committed, computed))
    names = [name for name in before | after if before.get(name) != after.get(name)]
    if not names and path != LOCK:
        return [f"{path}: the same values, written differently"]
    lines = [
        f"{path}: {name}: committed {before.get(name, ABSENT)}, computed {after.get(name, ABSENT)}"
        for name in names[:SHOWN]
    ]
    more = len(names) - len(lines)
    return [*lines, f"{path}: {more:,} more"] if more else lines


def _read(path: str, content: bytes | None) -> dict[str, Any]:
    """The values in a file, by their names. Of a file that is damaged or of no known kind, the one
    value is its digest."""
    if content is None:
        return {}
    try:
        return _READERS.get(PurePath(path).suffix, _digest)(content)
    except (ValueError, YAMLError, csv.Error):
        return _digest(content)


def _digest(content: bytes) -> dict[str, Any]:
    return {"MD5": md5(content)}


def _json(content: bytes) -> dict[str, Any]:
    """`test.loss`."""
    return flatten(_MAPPING.validate_json(content))


def _csv(content: bytes) -> dict[str, Any]:
    """`index 7, predicted`: the first column names the row."""
    rows = csv.reader(io.StringIO(content.decode()))
    first, *columns = next(rows, [])
    return {
        f"{first} {name}, {column}": value
        for name, *values in rows
        for column, value in zip(columns, values, strict=True)
    }


def _lock(content: bytes) -> dict[str, Any]:
    """`train: ` and the path of an output or a dependency, a parameter, or `command`."""
    values: dict[str, Any] = {}
    for name, stage in Lock.parse(content).stages.items():
        files = {file.path: file.md5 for file in (*stage.outs, *stage.deps)}
        params = {
            key: value for file in stage.params.values() for key, value in flatten(file).items()
        }
        values |= {f"{name}: {key}": value for key, value in (files | params).items()}
        values[f"{name}: command"] = stage.cmd
    return values


_READERS: dict[str, Callable[[bytes], dict[str, Any]]] = {
    ".csv": _csv,
    ".json": _json,
    ".lock": _lock,
}
