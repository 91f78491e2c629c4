import os
import sys
from pathlib import Path

import pytest

from tools.processes import run_python


def test_python_runs_with_itself_first_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.defpath)
    code = (
        "import os, shutil, sys; from pathlib import Path;"
        "assert os.environ['EXTRA'] == '1';"
        "Path('found').write_text(shutil.which('python')); sys.exit(7)"
    )
    assert run_python("-c", code, folder=tmp_path, variables={"EXTRA": "1"}) == 7
    assert Path((tmp_path / "found").read_text()).parent == Path(sys.executable).parent
