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


@posix.only_linux
def test_a_failure_after_the_rename_is_an_error_but_leaves_the_new_file(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def fail_on_folders(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(errno.EIO, "Input/output error")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail_on_folders)
    assert write_error(old) == f"{old}: cannot be written: Input/output error; {ADVICE}"
    assert old.read_bytes() == b"new"


@posix.only
def test_a_file_over_the_size_limit_leaves_the_old_one(old: Path) -> None:
    with posix.largest_file(1000):
        error = write_error(old, bytes(2000))
    assert error == f"{old}: cannot be written: File too large; {ADVICE}"
    assert_untouched(old)


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


@posix.only
def test_a_folder_in_the_way_is_named(tmp_path: Path) -> None:
    assert write_error(tmp_path) == (f"{tmp_path}: cannot be written: Is a directory; {ADVICE}")


@posix.only
def test_a_process_killed_before_the_rename_leaves_the_old_file(old: Path) -> None:
    code = """if True:
        import os, signal, sys
        from pathlib import Path
        from stages.common import files
        os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
        files.write(Path(sys.argv[1]), b"new")
    """
    assert runner.python("-c", code, old).returncode == -9
    assert old.read_bytes() == b"old"


def test_lines_are_added_and_the_file_is_written_anew_only_for_a_new_page(tmp_path: Path) -> None:
    """So a reader never sees half a line, and the cost of a line does not grow with the file."""
    path = tmp_path / "table.csv"
    content = b"header\n"
    files.write(path, content)
    anew = 0
    for number in range(1000):
        line = b"%d,%d\n" % (number, number**2)
        before = path.stat()
        files.append(path, line)
        new_page = len(content) // files.PAGE != (len(content) + len(line) - 1) // files.PAGE
        content += line
        assert path.read_bytes() == content
        assert (path.stat().st_ino != before.st_ino) == new_page
        anew += new_page
    assert anew == len(content) // files.PAGE > 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_never_sees_half_a_line(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    files.write(path, b"header\n")
    code = """if True:
        import sys
        from pathlib import Path
        from stages.common import files
        for _ in range(10_000):
            files.append(Path(sys.argv[1]), b"5,1200,6000,0.001000,0.075123,0.976667\\n")
    """
    writer = subprocess.Popen([sys.executable, "-c", code, path], cwd=runner.ROOT)
    while writer.poll() is None:
        assert path.read_bytes().endswith(b"\n")
    assert writer.returncode == 0
    assert path.read_bytes().count(b"\n") == 10_001


def test_a_line_for_a_file_that_is_not_there_names_it(tmp_path: Path) -> None:
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
