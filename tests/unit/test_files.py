import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.common import files
from stages.common.errors import UserError
from tests.support import posix

ADVICE = "check its folder and the free space"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file that is already there."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")
    return path


def assert_untouched(old: Path) -> None:
    assert old.read_bytes() == b"old"
    assert list(old.parent.iterdir()) == [old]  # no temporary file


def write_error(path: Path, content: bytes = b"new") -> str:
    with pytest.raises(UserError) as error:
        files.write(path, content)
    return str(error.value)


def test_a_file_is_written_or_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    for content in (b"first", b"second", b""):
        files.write(path, content)
        assert path.read_bytes() == content
        assert list(path.parent.iterdir()) == [path]


@posix.only
def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.write(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(("owner", "name"), [(os, "fsync"), (Path, "replace")])
def test_a_failure_before_the_rename_leaves_the_old_file(
    old: Path, monkeypatch: pytest.MonkeyPatch, owner: object, name: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(owner, name, fail)
    assert write_error(old) == f"{old}: cannot be written: Input/output error; {ADVICE}"
    assert_untouched(old)


@posix.only_linux
def test_the_content_is_synced_before_the_rename_and_the_folder_after_it(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync
    synced = []

    def watch(descriptor: int) -> None:
        fsync(descriptor)
        file = Path(f"/proc/self/fd/{descriptor}").resolve()
        synced.append(
            (file.is_dir(), b"" if file.is_dir() else file.read_bytes(), old.read_bytes())
        )

    monkeypatch.setattr(os, "fsync", watch)
    files.write(old, b"new")
    assert synced == [(False, b"new", b"old"), (True, b"", b"new")]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk, and not in every container")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)  # noqa: S607


@posix.only_linux
def test_a_full_disk_leaves_the_old_file(small_disk: Path) -> None:
    old = small_disk / "file"
    files.write(old, b"old")
    error = write_error(old, bytes(100_000))
    assert error == f"{old}: cannot be written: No space left on device; {ADVICE}"
    assert_untouched(old)
    with pytest.raises(UserError, match="No space left on device"):
        files.append(old, bytes(100_000))


def test_lines_are_added_to_a_file_that_is_there(tmp_path: Path) -> None:
    files.write(tmp_path / "history.csv", b"header\n")
    files.append(tmp_path / "history.csv", b"1\n")
    files.append(tmp_path / "history.csv", b"2\n")
    assert (tmp_path / "history.csv").read_bytes() == b"header\n1\n2\n"
    with pytest.raises(UserError, match=r"table\.csv: another process has removed it"):
        files.append(tmp_path / "table.csv", b"1\n")


def test_json_refuses_what_is_not_a_number() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.canonical_json({"loss": float("nan")})
