"""`make` installs into a new environment, with real pip, from indexes on loopback."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import install
from tests.support import index
from tests.support.project import ENVIRONMENT
from tests.support.runner import ROOT

if sys.platform != "linux":
    pytest.skip("only for Linux there are two builds of PyTorch", allow_module_level=True)

import pty

UV = Path(sys.executable).with_name("uv")
LINE = "Installing requirements.txt into .venv with "


@dataclass
class Clone:
    """A folder with the Makefile and few requirements, and what pip is told there."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """All variables, without settings of this machine's pip and uv."""
        own = {k: v for k, v in ENVIRONMENT.items() if not k.startswith(("PIP_", "UV_", "TORCH"))}
        path = os.pathsep.join([str(self.folder / "bin"), "/usr/bin", "/bin"])
        return own | {"PATH": path, "PIP_CONFIG_FILE": os.devnull} | self.variables

    def command(self, *arguments: str) -> list[str]:
        """`make` for the environment, with the Python of this test."""
        return ["make", f"PYTHON={sys.executable}", ".venv/.run", *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def make(self, *arguments: str) -> list[str]:
        """Run it, successfully; the lines that it says."""
        process = self.run(*arguments)
        assert process.returncode == 0, process.stdout
        return process.stdout.splitlines()

    def refuse(self, *arguments: str) -> str:
        """Run it, to an error; the line that is not make's own."""
        process = self.run(*arguments)
        assert process.returncode == 2
        assert not self.stamp.exists()
        (line,) = [text for text in process.stdout.splitlines() if not text.startswith("make: ")]
        return line

    def start(self) -> subprocess.Popen[bytes]:
        """Start it, in a process group of its own."""
        return subprocess.Popen(
            self.command(), cwd=self.folder, env=self.environment, start_new_session=True
        )

    @property
    def stamp(self) -> Path:
        """What make believes in."""
        return self.folder / ".venv/.run"

    def tool(self, name: str, text: str) -> None:
        """Write a command that is found before those of the system."""
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def require(self, *lines: str) -> None:
        """Write the requirements."""
        (self.folder / "requirements.txt").write_text("\n".join(lines) + "\n")

    def packages(self) -> Path:
        """The environment's site-packages."""
        (site,) = self.folder.glob(".venv/lib/python*/site-packages")
        return site

    def installed(self) -> set[str]:
        """The packages with versions, but for those of a new environment."""
        names = {path.stem for path in self.packages().glob("*.dist-info")}
        return {name for name in names if not name.startswith(("pip-", "setuptools-"))}


@pytest.fixture(scope="module")
def pypi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The index that the user has configured."""
    folder = tmp_path_factory.mktemp("pypi")
    index.wheel(folder / "torch", "torch", "2.13.0")
    index.wheel(folder / "large", "large", "1.0", files=1500)
    index.wheel(folder / "one", "one", "1.0")
    with index.serve(folder) as address:
        yield address


@pytest.fixture(scope="module")
def cpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The index of the CPU build. It has other packages too, as the real one."""
    folder = tmp_path_factory.mktemp("cpu")
    index.wheel(folder / "torch", "torch", "2.13.0+cpu")
    index.wheel(folder / "torch", "torch", "2.12.0+cpu")
    with index.serve(folder) as address:
        yield address


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment."""
    folder = tmp_path_factory.mktemp("environment") / ".venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder


@pytest.fixture
def bare(tmp_path: Path, pypi: str) -> Clone:
    """A clone in which nothing is installed."""
    for name in ("Makefile", "install.py"):
        shutil.copy(ROOT / name, tmp_path)
    clone = Clone(tmp_path, {"PIP_INDEX_URL": pypi, "PIP_CACHE_DIR": str(tmp_path / "cache")})
    clone.require("torch>=2.13,<2.14")
    return clone


@pytest.fixture
def clone(bare: Clone, empty: Path) -> Clone:
    """A clone with a new environment, which saves the time to make one."""
    shutil.copytree(empty, bare.folder / ".venv", symlinks=True)
    return bare


def test_without_a_gpu_the_cpu_build_comes_from_its_index(clone: Clone, cpu: str) -> None:
    lines = clone.make(f"TORCH_INDEX={cpu}")
    assert lines == [f"{LINE}pip, and PyTorch's CPU build: no NVIDIA GPU was found"]
    assert clone.installed() == {"torch-2.13.0+cpu"}
    assert clone.make() == ["make: '.venv/.run' is up to date."]


@pytest.mark.parametrize(
    ("server", "problem"),
    [
        (index.silent, "127.0.0.1 cannot be reached (no answer in 2.5 s)"),
        (index.slow, "127.0.0.1 cannot be reached (no answer in 2.5 s)"),
        (index.refusing, "127.0.0.1 cannot be reached ([Errno 111] Connection refused)"),
        (index.unknown, "index.invalid cannot be reached ([Errno -"),
    ],
)
def test_without_its_index_pip_takes_what_it_finds_and_tries_that_index_no_more(
    server: Callable[[], AbstractContextManager[str]], problem: str, clone: Clone
) -> None:
    with server() as address:
        (line,) = clone.make(f"TORCH_INDEX={address}")  # pip would say that it tries again
    assert line.startswith(f"{LINE}pip, and PyTorch as it is found: {problem}")
    assert clone.installed() == {"torch-2.13.0"}


def test_a_server_that_is_no_index_is_not_used(clone: Clone, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with index.serve(tmp_path / "nothing") as address:
        (line,) = clone.make(f"TORCH_INDEX={address}")
    assert line.endswith("PyTorch as it is found: 127.0.0.1 cannot be reached (File not found)")


def test_with_a_gpu_pip_takes_what_it_finds(clone: Clone, cpu: str) -> None:
    clone.tool("nvidia-smi", "echo 'GPU 0: NVIDIA H100 (UUID: GPU-1)'")
    (line,) = clone.make(f"TORCH_INDEX={cpu}")
    assert line == f"{LINE}pip, and PyTorch as it is found: this machine has an NVIDIA GPU"
    assert clone.installed() == {"torch-2.13.0"}


def test_a_driver_without_a_gpu_is_none(clone: Clone, cpu: str) -> None:
    clone.tool("nvidia-smi", "echo 'No devices were found'; exit 6")
    clone.make(f"TORCH_INDEX={cpu}")
    assert clone.installed() == {"torch-2.13.0+cpu"}


def test_the_user_may_choose(clone: Clone, empty: Path, cpu: str) -> None:
    assert clone.make(f"TORCH_INDEX={cpu}", "TORCH=cuda")[0].endswith("as it is found: TORCH=cuda")
    assert clone.installed() == {"torch-2.13.0"}
    assert clone.run(f"TORCH_INDEX={cpu}", "TORCH=cuda").returncode == 0
    clone.stamp.unlink()
    line = ".venv has the cuda build of PyTorch, and TORCH=cpu asks for the other. "
    again = clone.run(f"TORCH_INDEX={cpu}", "TORCH=cpu")
    assert again.returncode == 2
    assert line + "To install anew: make clean TORCH=cpu repro" in again.stdout
    shutil.rmtree(clone.folder / ".venv")
    shutil.copytree(empty, clone.folder / ".venv", symlinks=True)
    clone.tool("nvidia-smi", "echo 'GPU 0: NVIDIA H100 (UUID: GPU-1)'")
    assert clone.make(f"TORCH_INDEX={cpu}", "TORCH=cpu")[0].endswith("CPU build: TORCH=cpu")
    assert clone.installed() == {"torch-2.13.0+cpu"}


def test_a_choice_that_cannot_be_met_is_an_error_before_pip_runs(clone: Clone) -> None:
    problem = "index.invalid cannot be reached ([Errno -"
    line = clone.refuse("TORCH_INDEX=http://index.invalid", "TORCH=cpu")
    assert line.startswith(f"TORCH=cpu: {problem}")
    assert line.endswith("Without TORCH, pip takes the build that it finds")
    assert clone.refuse("TORCH=gpu") == "TORCH is 'gpu'. It may be cpu, cuda, or empty"
    assert clone.installed() == set()


@pytest.mark.parametrize("form", ["variables", "file"])
def test_the_settings_of_pip_stay_in_force(
    form: str, clone: Clone, pypi: str, cpu: str, tmp_path: Path
) -> None:
    index.wheel(tmp_path / "extra/two", "two", "1.0")
    index.wheel(tmp_path / "wheels", "three", "1.0")
    clone.require("torch>=2.13,<2.14", "one", "two", "three")
    with index.serve(tmp_path / "extra") as extra:
        settings = {
            "index-url": pypi,
            "extra-index-url": extra,
            "find-links": str(tmp_path / "wheels"),
        }
        if form == "file":
            lines = [f"{key} = {value}" for key, value in settings.items()]
            (tmp_path / "pip.conf").write_text("\n".join(["[global]", *lines]))
            del clone.variables["PIP_INDEX_URL"]
            clone.variables["PIP_CONFIG_FILE"] = str(tmp_path / "pip.conf")
        else:
            for key, value in settings.items():
                clone.variables["PIP_" + key.upper().replace("-", "_")] = value
        clone.make(f"TORCH_INDEX={cpu}")
    assert clone.installed() == {"torch-2.13.0+cpu", "one-1.0", "two-1.0", "three-1.0"}


def test_on_a_terminal_pip_shows_its_progress(clone: Clone, cpu: str) -> None:
    main, terminal = pty.openpty()
    subprocess.run(
        clone.command(f"TORCH_INDEX={cpu}"),
        cwd=clone.folder,
        env=clone.environment,
        stdout=terminal,
        stderr=terminal,
        check=True,
    )
    shown = os.read(main, 100_000).decode()
    assert shown.startswith(LINE)
    assert "Downloading" in shown
    assert "Successfully installed torch-2.13.0+cpu" in shown


def wait_until(condition: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    """Look for it while a process runs."""
    while not condition():
        assert process.poll() is None
        time.sleep(0.005)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill make and all that it has started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_killed_installation_goes_on(clone: Clone, cpu: str) -> None:
    clone.require("torch>=2.13,<2.14", "large")
    clone.variables["TORCH_INDEX"] = cpu
    process = clone.start()
    information = clone.packages() / "large-1.0.dist-info"
    wait_until((information / "RECORD").exists, process)  # the last file of the wheel
    kill(process)
    assert not (information / "INSTALLER").exists()
    assert not clone.stamp.exists()
    command = clone.folder / ".venv/bin/large-command"
    assert not command.exists()
    clone.make()
    assert subprocess.check_output([command], text=True) == "1.0\n"
    assert clone.installed() == {"torch-2.13.0+cpu", "large-1.0"}
    assert clone.stamp.exists()


def test_a_killed_environment_is_made_again(bare: Clone, cpu: str) -> None:
    bare.variables["TORCH_INDEX"] = cpu
    process = bare.start()
    wait_until((bare.folder / ".venv/bin/python").exists, process)
    kill(process)
    assert not list(bare.folder.glob(".venv/lib/*/site-packages/pip-*/INSTALLER"))
    bare.make()
    assert bare.installed() == {"torch-2.13.0+cpu"}


def test_a_failure_of_pip_is_one_of_make(clone: Clone) -> None:
    clone.require("torch>=2.99")
    process = clone.run("TORCH=cuda")
    assert process.returncode == 2
    assert "No matching distribution found for torch>=2.99" in process.stdout
    assert "The next `make` goes on from here\n" in process.stdout
    assert "Traceback" not in process.stdout
    assert not clone.stamp.exists()


def test_a_python_that_the_pins_do_not_cover_is_told_before_anything_is_made(bare: Clone) -> None:
    script = bare.folder / "install.py"
    text = script.read_text()
    assert text.count("(3, 11), (3, 14)") == 1
    for covered in ["(3, 9), (3, 10)", "(3, 98), (3, 99)"]:
        script.write_text(text.replace("(3, 11), (3, 14)", covered))
        oldest, newest = covered[1:-1].replace(", ", ".").split(").(")
        assert bare.refuse() == (
            f"{sys.executable} is Python {sys.version.split()[0]}, and the packages are for "
            f"{oldest} to {newest}. Name one of those: make PYTHON=python3.12 repro"
        )
    assert not (bare.folder / ".venv").exists()


def test_uv_installs_where_pip_has_no_settings(clone: Clone, pypi: str) -> None:
    (clone.folder / "bin").mkdir()
    (clone.folder / "bin/uv").symlink_to(UV)
    clone.variables = {"UV_DEFAULT_INDEX": pypi, "UV_CACHE_DIR": str(clone.folder / "cache")}
    assert clone.make("TORCH=cuda") == [f"{LINE}uv, and PyTorch as it is found: TORCH=cuda"]
    assert clone.installed() == {"torch-2.13.0"}
    clone.stamp.unlink()
    clone.variables["PIP_INDEX_URL"] = pypi
    assert clone.make("TORCH=cuda") == [f"{LINE}pip, and PyTorch as it is found: TORCH=cuda"]


def test_uv_is_told_the_build(tmp_path: Path) -> None:
    """Its index is on the internet, so uv is asked not to connect: it says that it lacks torch,
    and not that it does not know an option."""
    command = install.uv_command(str(UV), Path(sys.executable), cpu=True)
    assert command[-2:] == ["--torch-backend", "cpu"]
    offline = ["--offline", f"--target={tmp_path}/target", f"--cache-dir={tmp_path}/cache", "torch"]
    process = subprocess.run([*command, *offline], capture_output=True, text=True, check=False)
    assert process.returncode == 1
    assert "torch was not found in the cache" in process.stderr
