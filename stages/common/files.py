"""Writing files: a name always stands for a whole file, and equal content for equal bytes."""

import json
import os
from collections.abc import Mapping
from glob import escape
from pathlib import Path
from typing import Any

from stages.common.errors import UserError


def write(path: Path, content: bytes) -> None:
    """Write `content` to `path` whole or not at all, and onto the disk before it returns.

    A killed process leaves the old file or the new one: the content goes to a temporary
    file in the same folder first, which takes the final name only when it is complete. What
    a killed process left of that is removed.

    Raises:
        UserError: the folder cannot be written or the disk is full. `path` is whole: as it was,
            or, if only the last sync failed, as it should be.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left_over in path.parent.glob(f".{escape(path.name)}.*.tmp"):
            left_over.unlink(missing_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written: {error.strerror}; check its folder and the free space"
        ) from error


def _sync_folder(folder: Path) -> None:
    """A rename is durable only once the folder that holds the name is on the disk too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refuse_link_outside(path: Path) -> None:
    """A file from a stranger must not make a stage read or write elsewhere on this machine.

    A link that stays in the project is fine: `cache.type symlink` makes some into DVC's cache.
    The project is the folder that DVC_ROOT names, also while DVC runs an experiment in a
    temporary copy inside it.

    Raises:
        UserError: `path` or its folder is a link that leads out of the project.
    """
    project, target = (
        Path(os.path.realpath(name)) for name in (os.environ.get("DVC_ROOT", "."), path)
    )
    if (path.is_symlink() or path.parent.is_symlink()) and not target.is_relative_to(project):
        raise UserError(
            f"{path}: a link to {target}, outside of the project; put the file itself there"
            " (if DVC made the link: `dvc config cache.type copy`, then `dvc checkout --relink`)"
        )


def canonical_json(content: Mapping[str, Any]) -> bytes:
    """JSON with sorted keys: equal content, equal bytes."""
    return (json.dumps(content, sort_keys=True, indent=2, allow_nan=False) + "\n").encode()
