"""What differs between two contents of a file of the pipeline, value by value."""

from collections.abc import Iterator
from pathlib import PurePath

from tools.dvc_files import LOCK, md5
from tools.yaml_files import DAMAGED, parse_values

SHOWN = 10  # values a file

Values = dict[tuple[object, ...], object]  # by their keys, from the outermost


def describe(path: str, committed: bytes | None, computed: bytes | None) -> list[str]:
    """A line for each value that is not the same in both; None is a file that is not there. A
    dvc.lock may list the same in another order: that gives no line."""
    if committed is None:
        return [f"{path}: a stage writes it, but it is not committed"]
    if computed is None:
        return [f"{path}: committed, but no stage writes it"]
    before, after = (_read(path, content) for content in (committed, computed))
    names = [name for name in before | after if before.get(name) != after.get(name)]
    if not names and path != LOCK:
        return [f"{path}: the same values, written differently"]
    lines = [
        f"{path}: {'.'.join(map(str, name))}: committed {before.get(name, 'none')},"
        f" computed {after.get(name, 'none')}"
        for name in names[:SHOWN]
    ]
    more = len(names) - len(lines)
    return [*lines, f"{path}: {more:,} more"] if more else lines


def _read(path: str, content: bytes) -> Values:
    """The values in a file; those of a CSV file are its lines. Of a file that is damaged or of no
    known kind, the one value is its digest."""
    try:
        match PurePath(path).suffix:
            case ".json" | ".lock":
                return dict(_leaves(parse_values(path, content)))
            case ".csv":
                lines = content.decode().splitlines()
                return {(f"line {number}",): line for number, line in enumerate(lines, 1)}
    except DAMAGED:
        pass
    return {("MD5",): md5(content)}


def _leaves(value: object, *name: object) -> Iterator[tuple[tuple[object, ...], object]]:
    """Each value within others, and its keys. Files in a list go by their paths: dvc.lock may have
    them in any order."""
    if isinstance(value, list) and all(isinstance(file, dict) and "path" in file for file in value):
        files = {str(file["path"]): file for file in value}
        value = files if len(files) == len(value) else value
    if isinstance(value, dict) and (value or not name):
        for key, inner in value.items():
            yield from _leaves(inner, *name, key)
    else:
        yield name, value
