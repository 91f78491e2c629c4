import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.common.errors import UserError, run
from tests.support import posix, runner


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Restore pytest's own handlers of signals afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_mistake_of_the_user_is_shown_without_a_traceback() -> None:
    def main() -> None:
        raise UserError("params.yaml: train: missing")

    with pytest.raises(SystemExit, match=r"^params\.yaml: train: missing$"):
        run(main)


@posix.only
def test_an_error_of_the_system_names_its_file(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=f"^{tmp_path}: Is a directory$"):
        run(lambda: print(tmp_path.read_text()))


def test_a_bug_in_the_code_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run(lambda: print(1 / 0))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_gives_its_exit_status(number: signal.Signals, code: int) -> None:
    with pytest.raises(SystemExit) as end:
        run(lambda: signal.raise_signal(number))
    assert end.value.code == code


@posix.only
def test_what_a_killed_process_printed_is_not_lost() -> None:
    killed = (
        "import os, signal; from stages.common.errors import run;"
        "run(lambda: print('first') or os.kill(os.getpid(), signal.SIGKILL))"
    )
    assert runner.python("-c", killed).stdout == "first\n"


@posix.only
def test_a_reader_that_has_ended_gives_no_traceback() -> None:
    """As in `python -m tools.predict ... | head -n 1`."""
    code = "from stages.common.errors import run; run(lambda: [print(n) for n in range(10**6)])"
    command = [sys.executable, "-c", code]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=runner.ROOT, stdout=pipe, stderr=pipe) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1
