"""DVC started without activating the environment."""

import os
import sys
from pathlib import Path

from tests.support.project import ENVIRONMENT, Project


def test_another_python_first_on_the_path_is_named_in_one_line(project: Project) -> None:
    bare = project.folder.parent / "bin"
    bare.mkdir()
    (bare / "python").symlink_to(Path(sys.executable).resolve())  # it has no packages there
    dvc = str(Path(sys.executable).parent / "dvc")
    path = f"{bare}{os.pathsep}{ENVIRONMENT['PATH']}"
    process = project.run(dvc, "repro", "--force", PATH=path)
    assert process.returncode != 0
    assert f"{bare / 'python'} lacks" in process.stdout
    assert "run `make repro`, or activate the environment first" in process.stdout
    assert "Traceback" not in process.stdout
