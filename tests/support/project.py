"""The project in a temporary clone, on tiny data, driven by the real `dvc` and `git`."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.runner import ROOT
from tools.yaml_files import set_values

DVC = Path(sys.executable).with_name("dvc")
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "GIT_AUTHOR_NAME": "Tester",
    "GIT_AUTHOR_EMAIL": "tester@example.com",
    "GIT_COMMITTER_NAME": "Tester",
    "GIT_COMMITTER_EMAIL": "tester@example.com",
}
for name in ("MAKEFLAGS", "MAKELEVEL", "VENV"):  # of make and .ci/run, which started the tests
    ENVIRONMENT.pop(name, None)


@dataclass
class Project:
    """A clone of the project and how to run commands in it."""

    folder: Path

    def environment(self) -> dict[str, str]:
        """The variables that commands see."""
        return ENVIRONMENT | {
            "MNIST_DIR": str(self.folder.parent / "tiny"),
            "DVC_SITE_CACHE_DIR": str(self.folder.parent / "site"),  # goes with the folder
        }

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command, whatever its exit status; stdout and stderr come back together."""
        return run(command, self.folder, self.environment() | variables)

    def __call__(self, *command: str) -> str:
        """Run a command that must succeed; its output."""
        process = self.run(*command)
        assert process.returncode == 0, process.stdout
        return process.stdout

    def make(self, *targets: str) -> str:
        """Run targets of the Makefile, with the environment of this test; their output."""
        return self(*make_command(*targets))

    def repro(self) -> list[str]:
        """`dvc repro`; the names of the stages that ran."""
        return stages_in(self("dvc", "repro"))

    def experiment(self, name: str) -> str:
        """The commit of an experiment."""
        pattern = f"refs/exps/*/*/{name}"
        (commit,) = self("git", "for-each-ref", "--format=%(objectname)", pattern).split()
        return commit

    def end_queue(self) -> None:
        """End the workers of DVC's queue and what they run. DVC sometimes loses the message that
        stops an idle worker, which then never ends."""
        self.run("dvc", "queue", "stop", "--kill")
        for path in (self.folder / ".dvc/tmp/exps/celery").glob("*.pid"):
            with contextlib.suppress(psutil.NoSuchProcess):
                worker = psutil.Process(int(path.read_text()))
                if "queue-worker" in worker.cmdline():  # not another one with the same number
                    worker.kill()

    def copy(self, folder: Path) -> "Project":
        """The same project, and its tiny data, in an empty folder."""
        shutil.copytree(self.folder.parent, folder, dirs_exist_ok=True, symlinks=True)
        return Project(folder / self.folder.name)

    def set_param(self, group: str, key: str, value: object) -> None:
        """Change one value of params.yaml."""
        set_values(self.folder / "params.yaml", {f"{group}.{key}": value})


def stages_in(output: str) -> list[str]:
    """The names of the stages that ran, from what DVC printed."""
    return re.findall(r"^Running stage '(\w+)'", output, re.MULTILINE)


def run(
    command: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a command without input; stdout and stderr come back together.

    They go through a file, which is read when the command has ended. The end of a pipe would not
    come before the end of all that the command leaves behind, such as a worker of DVC's queue."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        process: subprocess.CompletedProcess[str] = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        output.seek(0)
        process.stdout = output.read()
    return process


def make_command(*arguments: str) -> list[str]:
    """The command `make`, with the environment of this test, which it takes as installed."""
    venv = Path(sys.prefix)
    return ["make", f"--old-file={venv}/.run", f"VENV={venv}", *arguments]


def tracked_files() -> list[str]:
    """The working tree as `git add --all` would see it, so that tests run on what is there."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    return [name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()]


def copy_tracked_files(target: Path) -> None:
    """Copy them to a folder, which is made if it is not there."""
    for name in tracked_files():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target / name)


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    """Read what the process prints until `text` comes."""
    assert process.stdout
    seen = ""
    while text not in seen:
        line = process.stdout.readline()
        assert line, f"ended before {text!r}: {seen}"
        seen += line
