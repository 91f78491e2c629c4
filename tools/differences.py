"""What differs between two contents of a file of the pipeline, value by value."""

from pathlib import PurePath

from ruamel.yaml.error import YAMLError

from tools.dvc_files import LOCK, Lock, md5
from tools.yaml_files import MAPPING, flatten

SHOWN = 10  # values a file


def describe(path: str, committed: bytes | None, computed: bytes | None) -> list[str]:
    """A line for each value that is not the same in both, or that only one of them has. None is a
    file that is not there. A dvc.lock may list the same in another order: that gives no line."""
    before, after = (_read(path, content) for content in (committed, computed))
    names = [name for name in before | after if before.get(name) != after.get(name)]
    if not names and path != LOCK:
        return [f"{path}: the same values, written differently"]
    lines = [
        f"{path}: {name}: committed {before.get(name, 'none')}, computed {after.get(name, 'none')}"
        for name in names[:SHOWN]
    ]
    more = len(names) - len(lines)
    return [*lines, f"{path}: {more:,} more"] if more else lines


def _read(path: str, content: bytes | None) -> dict[str, object]:
    """The values in a file, by their names; those of a CSV file are its lines. Of a file that is
    damaged or of no known kind, the one value is its digest."""
    if content is None:
        return {}
    try:
        match PurePath(path).suffix:
            case ".json":
                return flatten(MAPPING.validate_json(content))
            case ".csv":
                lines = content.decode().splitlines()
                return {f"line {number}": line for number, line in enumerate(lines, 1)}
            case ".lock":
                return _lock_values(Lock.parse(content))
    except (ValueError, YAMLError):
        pass
    return {"MD5": md5(content)}


def _lock_values(lock: Lock) -> dict[str, object]:
    """`train: ` and the path of an output or a dependency, a parameter, or `command`."""
    values: dict[str, object] = {}
    for name, stage in lock.stages.items():
        values |= {f"{name}: {file.path}": file.md5 for file in (*stage.outs, *stage.deps)}
        for params in stage.params.values():
            values |= flatten(params, f"{name}: ")
        values[f"{name}: command"] = stage.cmd
    return values
