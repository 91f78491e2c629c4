import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import posix
from tests.support.project import wait_for
from tests.support.runner import ROOT
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


@posix.only
def test_what_it_runs_ends_with_a_killed_process_and_its_folder_goes(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    child = "print('asleep', flush=True); import time; time.sleep(60); print('awake')"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    code = (
        "from pathlib import Path; from tools.processes import run_python;"
        f"run_python('-c', {parent!r}, scratch=Path({str(scratch)!r}))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as tool:
        assert tool.stdout is not None
        wait_for(tool, "asleep\n")
        tool.kill()
        rest = tool.stdout.read()  # ends with the last process that could write to it
    assert rest == ""
    assert not scratch.exists()
