import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stages.common import files
from stages.common.errors import UserError
from tests.support import posix, runner

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
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640)])
def test_permissions_follow_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        files.write(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


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


def is_root() -> bool:
    return psutil.Process().username() == "root"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)]
    if not is_root() or subprocess.run(command, check=False, capture_output=True).returncode:
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


@posix.only_linux
def test_a_folder_without_write_permission_is_named(old: Path) -> None:
    """Root may write anywhere, so the process drops root's privileges first."""
    command: tuple[str, ...] = (sys.executable,)
    if is_root():
        setpriv = shutil.which("setpriv") or pytest.skip("root needs setpriv to drop privileges")
        command = (setpriv, "--bounding-set=-all", "--inh-caps=-all", *command)
    code = """if True:
        import sys
        from pathlib import Path
        from stages.common import errors, files
        errors.run(lambda: files.write(Path(sys.argv[1]), b"new"))
    """
    old.parent.chmod(0o555)
    try:
        process = runner.python("-c", code, old, command=command)
    finally:
        old.parent.chmod(0o755)
    assert process.returncode == 1
    assert process.stderr == f"{old}: cannot be written: Permission denied; {ADVICE}\n"
    assert_untouched(old)


def test_lines_are_added_to_a_file_that_is_there(tmp_path: Path) -> None:
    files.write(tmp_path / "history.csv", b"header\n")
    files.append(tmp_path / "history.csv", b"1\n")
    files.append(tmp_path / "history.csv", b"2\n")
    assert (tmp_path / "history.csv").read_bytes() == b"header\n1\n2\n"
    with pytest.raises(UserError, match=r"table\.csv: cannot be written: No such file"):
        files.append(tmp_path / "table.csv", b"1\n")


def test_json_has_sorted_keys_and_ends_its_last_line() -> None:
    assert files.canonical_json({"b": {"d": 1, "c": 0.5}, "a": "x"}) == (
        b'{\n  "a": "x",\n  "b": {\n    "c": 0.5,\n    "d": 1\n  }\n}\n'
    )


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_refuses_what_is_not_a_number(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.canonical_json({"loss": number})
