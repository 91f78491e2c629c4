import signal
from pathlib import Path

import pytest

from stages.common.errors import UserError, run


def test_what_the_user_can_mend_is_shown_without_a_traceback() -> None:
    def main() -> None:
        raise UserError("params.yaml: train: missing")

    with pytest.raises(SystemExit, match=r"^params\.yaml: train: missing$"):
        run(main)


def test_an_error_of_the_system_names_its_file(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=f"^{tmp_path}: Is a directory$"):
        run(lambda: print(tmp_path.read_text()))


def test_a_mistake_in_the_code_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run(lambda: print(1 / 0))


def test_ctrl_c_is_not_success() -> None:
    with pytest.raises(SystemExit) as end:
        run(lambda: signal.raise_signal(signal.SIGINT))
    assert end.value.code == 130
