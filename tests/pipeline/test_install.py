"""`make` installs into a new environment, with real pip and uv, from indexes on loopback."""

import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import install
from tests.support.project import ENVIRONMENT
from tests.support.runner import ROOT

if sys.platform != "linux":
    pytest.skip("only for Linux there are two builds of PyTorch", allow_module_level=True)


UV = Path(sys.executable).with_name("uv")
AS_FOUND, CPU_BUILD = "PyTorch as it is found: ", "PyTorch's CPU build: "
A_GPU = "echo 'GPU 0: NVIDIA H100 (UUID: GPU-1)'"


def wheel(folder: Path, name: str, version: str, files: int = 1) -> None:
    """Write the wheel of a package with so many files and the command `NAME-command`."""
    folder.mkdir(parents=True, exist_ok=True)
    information = f"{name}-{version}.dist-info"
    content = {f"{name}/module{n}.py": f"number = {n}\n" for n in range(files)} | {
        f"{name}/__init__.py": f"def main() -> None:\n    print({version!r})\n",
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{information}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{information}/entry_points.txt": f"[console_scripts]\n{name}-command = {name}:main\n",
    }
    record = f"{information}/RECORD"
    content[record] = "".join(f"{member},,\n" for member in [*content, record])
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for member, text in content.items():
            archive.writestr(member, text)


class Listings(SimpleHTTPRequestHandler):
    """Serves a folder with a folder of wheels for each package. pip reads that as an index."""

    def log_message(self, *_arguments: object) -> None:
        """Nothing: the test's output is for the test."""


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve it; the address."""
    handler = functools.partial(Listings, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:  # or the thread would go round and round on a closed socket
            server.shutdown()


@dataclass
class Clone:
    """A folder with the Makefile and few requirements, and what pip is told there."""

    folder: Path
    variables: dict[str, str]

    def start(self, *arguments: str, output: int = subprocess.PIPE) -> subprocess.Popen[str]:
        """Let `make` install, in a process group of its own, with the Python of this test. It sees
        none of this machine's settings of pip and uv."""
        own = {k: v for k, v in ENVIRONMENT.items() if not k.startswith(("PIP_", "UV_", "TORCH"))}
        path = f"{self.folder / 'bin'}:/usr/bin:/bin"
        command = ["make", f"PYTHON={sys.executable}", ".venv/.run", *arguments]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=own | {"PATH": path, "PIP_CONFIG_FILE": os.devnull} | self.variables,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def make(self, *arguments: str) -> str:
        """Install, successfully; what it says, without the end of the line."""
        process = self.start(*arguments)
        output, _ = process.communicate()
        assert process.returncode == 0, output
        return output.rstrip("\n")

    def refuse(self, *arguments: str) -> str:
        """Fail to install; what it says, without make's own line."""
        process = self.start(*arguments)
        output, _ = process.communicate()
        assert process.returncode == 2
        assert not (self.folder / ".venv/.run").exists()  # what make believes in
        assert "Traceback" not in output
        return "\n".join(line for line in output.splitlines() if not line.startswith("make: "))

    def tool(self, name: str, text: str) -> None:
        """Write a command that is found before those of the system."""
        path = self.folder / "bin" / name
        path.parent.mkdir()
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def require(self, *lines: str) -> None:
        """Write the requirements."""
        (self.folder / "requirements.txt").write_text("\n".join(lines) + "\n")

    def installed(self) -> set[str]:
        """The packages with versions, but for those of a new environment."""
        names = {path.stem for path in install.installed(self.folder / ".venv")}
        return {name for name in names if not name.startswith(("pip-", "setuptools-"))}


@pytest.fixture(scope="module")
def pypi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The index that the user has configured."""
    folder = tmp_path_factory.mktemp("pypi")
    wheel(folder / "torch", "torch", "2.13.0")
    wheel(folder / "large", "large", "1.0", files=1500)
    with serve(folder) as address:
        yield address


@pytest.fixture(scope="module")
def cpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The index of the CPU build. It has other versions too, as the real one."""
    folder = tmp_path_factory.mktemp("cpu")
    wheel(folder / "torch", "torch", "2.13.0+cpu")
    wheel(folder / "torch", "torch", "2.12.0+cpu")
    with serve(folder) as address:
        yield address


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment."""
    folder = tmp_path_factory.mktemp("environment") / ".venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder


@pytest.fixture
def clone(tmp_path: Path, pypi: str, cpu: str, empty: Path) -> Clone:
    """A clone with a new environment."""
    shutil.copytree(empty, tmp_path / ".venv", symlinks=True)
    for name in ("Makefile", "install.py"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "requirements-stages.txt").touch()
    cache = str(tmp_path / "cache")
    clone = Clone(tmp_path, {"PIP_INDEX_URL": pypi, "TORCH_INDEX": cpu, "PIP_CACHE_DIR": cache})
    clone.require("torch>=2.13,<2.14")
    return clone


def test_without_a_gpu_the_cpu_build_comes_from_its_index(clone: Clone) -> None:
    line = (
        f"Installing requirements.txt into .venv with pip, and {CPU_BUILD}no NVIDIA GPU was found"
    )
    assert clone.make() == line
    assert clone.installed() == {"torch-2.13.0+cpu"}
    assert clone.make() == "make: '.venv/.run' is up to date."


@pytest.mark.parametrize(
    ("listing", "build"),
    [(A_GPU, "2.13.0"), ("echo 'No devices were found'; exit 6", "2.13.0+cpu")],
)
def test_a_gpu_is_one_that_the_driver_lists(listing: str, build: str, clone: Clone) -> None:
    clone.tool("nvidia-smi", listing)
    clone.make()
    assert clone.installed() == {f"torch-{build}"}


def test_without_its_index_pip_takes_what_it_finds_and_tries_that_index_no_more(
    clone: Clone, tmp_path: Path
) -> None:
    (tmp_path / "nothing").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as silent, serve(tmp_path / "nothing") as no_index:
        for address, problem in [
            (f"http://127.0.0.1:{silent.getsockname()[1]}", "timed out"),
            (no_index, "File not found"),
            ("http://127.0.0.1:1", "[Errno 111] Connection refused"),
        ]:
            clone.variables["TORCH_INDEX"] = address
            (line,) = clone.make("-B").splitlines()  # pip would say that it tries again
            assert line.endswith(f"{AS_FOUND}127.0.0.1 cannot be reached ({problem})")
    assert clone.installed() == {"torch-2.13.0"}


def test_the_user_may_choose(clone: Clone, empty: Path) -> None:
    assert clone.make("TORCH=cuda").endswith(f"{AS_FOUND}TORCH=cuda")
    assert clone.installed() == {"torch-2.13.0"}
    clone.make("TORCH=cuda")
    (clone.folder / ".venv/.run").unlink()
    assert "To install anew: make clean TORCH=cpu repro" in clone.refuse("TORCH=cpu")
    shutil.rmtree(clone.folder / ".venv")
    shutil.copytree(empty, clone.folder / ".venv", symlinks=True)
    clone.tool("nvidia-smi", A_GPU)
    assert clone.make("TORCH=cpu").endswith(f"{CPU_BUILD}TORCH=cpu")
    assert clone.installed() == {"torch-2.13.0+cpu"}


def test_a_choice_that_cannot_be_met_is_an_error_before_pip_runs(clone: Clone) -> None:
    clone.variables["TORCH_INDEX"] = "http://index.invalid"
    assert clone.refuse("TORCH=cpu").startswith("TORCH=cpu: index.invalid cannot be reached ([Err")
    assert clone.refuse("TORCH=gpu") == "TORCH is 'gpu'. It may be cpu, cuda, or empty"
    assert clone.installed() == set()


def kill_when(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Kill make and all that it has started, as soon as the condition holds."""
    while not condition():
        assert process.poll() is None
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_a_killed_installation_goes_on(clone: Clone) -> None:
    clone.require("torch>=2.13,<2.14", "large")
    (site,) = clone.folder.glob(".venv/lib/python*/site-packages")
    information = site / "large-1.0.dist-info"
    kill_when((information / "RECORD").exists, clone.start())  # the last file of the wheel
    command = clone.folder / ".venv/bin/large-command"
    assert not (information / "INSTALLER").exists()
    assert not command.exists()
    clone.make()
    assert subprocess.check_output([command], text=True) == "1.0\n"
    assert clone.installed() == {"torch-2.13.0+cpu", "large-1.0"}


def test_a_killed_environment_is_made_again(clone: Clone) -> None:
    shutil.rmtree(clone.folder / ".venv")
    kill_when((clone.folder / ".venv/bin/python").exists, clone.start())
    assert not list(clone.folder.glob(".venv/lib/*/site-packages/pip-*/INSTALLER"))
    clone.make()
    assert clone.installed() == {"torch-2.13.0+cpu"}


def test_a_failure_of_pip_is_one_of_make(clone: Clone) -> None:
    clone.require("torch>=2.99")
    output = clone.refuse()
    assert "No matching distribution found for torch>=2.99" in output
    assert output.endswith("The next `make` goes on from here")


def test_a_python_that_the_pins_do_not_cover_is_told_before_anything_is_made(clone: Clone) -> None:
    shutil.rmtree(clone.folder / ".venv")
    script = clone.folder / "install.py"
    text = script.read_text()
    for covered in ["(3, 9), (3, 10)", "(3, 98), (3, 99)"]:
        script.write_text(text.replace("(3, 11), (3, 14)", covered))
        (line,) = clone.refuse().splitlines()
        assert line.startswith(f"{sys.executable} is Python {sys.version.split()[0]}, and the pack")
    assert not (clone.folder / ".venv").exists()


def test_uv_installs_where_pip_has_no_settings(clone: Clone, pypi: str) -> None:
    clone.tool("uv", f'exec {UV} "$@"')
    clone.variables = {"UV_DEFAULT_INDEX": pypi, "UV_CACHE_DIR": str(clone.folder / "cache")}
    assert " with uv, " in clone.make("TORCH=cuda")
    assert clone.installed() == {"torch-2.13.0"}
    clone.variables["PIP_INDEX_URL"] = pypi
    assert " with pip, " in clone.make("TORCH=cuda", "-B")


def test_uv_is_told_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its index is on the internet, so uv is asked not to connect: it says that it lacks torch,
    and not that it does not know an option."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PATH", str(UV.parent))
    name, command = install.installer(Path(sys.executable), install.CPU_INDEX, cpu=True)
    assert (name, command[-2:]) == ("uv", ["--torch-backend", "cpu"])
    offline = ["--offline", f"--target={tmp_path}/target", f"--cache-dir={tmp_path}/cache", "torch"]
    process = subprocess.run([*command, *offline], capture_output=True, text=True, check=False)
    assert process.returncode == 1
    assert "torch was not found in the cache" in process.stderr
