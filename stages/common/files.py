"""Writing files: whole or not at all, and the same bytes for the same content."""

import hashlib
import json
import os
from collections.abc import Mapping
from configparser import ConfigParser
from glob import escape
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from stages.common.errors import UserError


def write(path: Path, content: bytes) -> None:
    """Write `content` to `path` whole or not at all, and sync it to the disk.

    A killed process leaves the old file or the new one: the content goes to a temporary file in
    the same folder, which is renamed only when it is complete. Temporary files that a killed
    process left are removed.

    Raises:
        UserError: the folder cannot be written or the disk is full. `path` is then as it was
            before, or, if only the last sync failed, already the new file.
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
        raise _not_written(path, error) from error


def append(path: Path, line: bytes) -> None:
    """Add a line to the end of a file that is there. It is not synced: a power cut may lose it.

    Raises:
        UserError: another process has removed the file, or the disk is full.
    """
    try:
        with path.open("r+b") as file:
            file.seek(0, os.SEEK_END)
            file.write(line)
    except FileNotFoundError:
        raise UserError(
            f"{path}: another process has removed it, perhaps another `dvc repro`; this one stops"
        ) from None
    except OSError as error:
        raise _not_written(path, error) from error


def _not_written(path: Path, error: OSError) -> UserError:
    return UserError(
        f"{path}: cannot be written: {error.strerror}; check its folder and the free space"
    )


def _sync_folder(folder: Path) -> None:
    """A rename is safe from a power cut only when the folder that holds the name is synced too.
    Windows opens no folder, and has no such flag."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def refuse_link_outside(path: Path) -> None:
    """Refuse a link that would make a stage read or write outside of the project. Someone else's
    commit may hold such a link.

    A link inside the project is fine: with `cache.type symlink` DVC makes links into its cache.
    The project is the folder that DVC_ROOT names. While DVC runs an experiment in a temporary
    copy, that is still the folder around the copy.

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


def refuse_unwritable_cache() -> None:
    """Refuse what would make DVC fail after the stage, when it puts the outputs into its cache.

    The cache is the folder that .dvc/config or .dvc/config.local names, or .dvc/cache. Settings
    outside of the project are not read. Without DVC, which sets DVC_ROOT, there is no cache.

    Raises:
        UserError: the folder, or one in it, cannot be written.
    """
    if "DVC_ROOT" not in os.environ:
        return
    settings = Path(os.environ["DVC_ROOT"], ".dvc")
    config = ConfigParser(strict=False, interpolation=None)
    config.read([settings / "config", settings / "config.local"], encoding="utf-8")
    cache = settings / config.get("cache", "dir", fallback="cache")
    folders = [cache, *cache.glob("files/md5"), *cache.glob("files/md5/??")]
    try:
        cache.mkdir(parents=True, exist_ok=True)
        for folder in folders:
            TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(
            f"{error.filename or cache}: DVC's cache cannot be written: {error.strerror}; DVC could"
            " not keep what this stage gives. Make it writable, or choose another: `dvc cache dir`"
        ) from None


def sha256(content: bytes) -> str:
    """The SHA-256 of `content` as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def canonical_json(content: Mapping[str, Any]) -> bytes:
    """JSON with sorted keys: equal content, equal bytes."""
    return (json.dumps(content, sort_keys=True, indent=2, allow_nan=False) + "\n").encode()
