"""A Linux for 64-bit ARM that QEMU emulates, with as much as the stages need.

    python -m tests.support.aarch64 FOLDER            fetch it into a folder: 3 GB, minutes
    python -m tests.support.aarch64 FOLDER --record   run a commit there; write dvc.aarch64.json

It has Debian's Python, and the packages of requirements.txt as pip would install them on ARM. The
wheel of PyTorch for ARM does not load without CUDA's libraries, hence the size. It needs apt-get,
dpkg-deb and qemu-user, but not root.
"""

import os
import shlex
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from stages.common import files
from stages.common.errors import UserError, run
from tests.support.runner import ROOT
from tools import expected, verify
from tools.yaml_files import set_values

QEMU = shutil.which("qemu-aarch64")
DEBIAN = ["python3", "libgomp1", "libstdc++6"]
PYPI = [
    "filelock", "matplotlib", "numpy", "pandas", "psutil", "pydantic", "requests", "ruamel.yaml",
    "safetensors", "scipy", "torch", "tqdm",
]  # fmt: skip
GLIBC = range(17, 29)  # the versions 2.17 to 2.28, for which wheels are built
RECORDED: dict[str, int | float | str] = {"train.epochs": 1}  # five take an hour on one core
RECORDED_ON = "neoverse-n1"


@dataclass(frozen=True)
class Arm:
    """The folder that holds it."""

    folder: Path

    @property
    def _interpreter(self) -> Path:
        return (self.folder / "sysroot/usr/bin/python3").resolve()

    def exists(self) -> bool:
        """Whether it was fetched to the end."""
        return (self.folder / "complete").exists()

    def fetch(self) -> None:
        """Fetch and unpack all of it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._fetch_python()
        self._fetch_packages()
        (self.folder / "complete").touch()

    def _fetch_python(self) -> None:
        """By apt-get, with lists of its own: those of this machine do not change."""
        apt, root = self.folder / "apt", self.folder / "sysroot"
        for name in ("state/lists/partial", "cache/archives/partial"):
            (apt / name).mkdir(parents=True)
        (apt / "status").touch()  # no package is installed
        options = [
            "APT::Architecture=arm64",
            "APT::Architectures=arm64",
            "APT::Sandbox::User=",
            "Debug::NoLocking=true",
            f"Dir::State={apt}/state",
            f"Dir::State::status={apt}/status",
            f"Dir::Cache={apt}/cache",
        ]
        get = ["apt-get", "--quiet", "--yes", *(f"-o{option}" for option in options)]
        subprocess.run([*get, "update"], check=True)
        install = ["install", "--download-only", "--no-install-recommends"]
        subprocess.run([*get, *install, *DEBIAN], check=True)
        for package in sorted((apt / "cache/archives").glob("*.deb")):
            command = ["dpkg-deb", "--extract", str(package), str(root)]
            subprocess.run(command, check=True)
        (root / "lib").symlink_to("usr/lib")

    def _fetch_packages(self) -> None:
        """By this machine's pip. It takes the wheels for ARM and for that Python."""
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "install", "--quiet", "--no-cache-dir"),
                *("--only-binary=:all:", f"--target={self.folder}/site"),
                f"--python-version={self._interpreter.name.removeprefix('python')}",
                *("--platform=manylinux2014_aarch64",),
                *(f"--platform=manylinux_2_{minor}_aarch64" for minor in GLIBC),
                *(f"--constraint={ROOT}/requirements.txt", *PYPI),
            ],
            check=True,
        )

    def python(self, cpu: str) -> list[str]:
        """The command `python` on a model of CPU; `qemu-aarch64 -cpu help` lists them."""
        return [str(QEMU), "-cpu", cpu, "-L", f"{self.folder}/sysroot", str(self._interpreter)]

    def variables(self, code: Path) -> dict[str, str]:
        """The environment variables by which that Python finds its packages, and this code."""
        return {
            "PYTHONHOME": f"{self.folder}/sysroot/usr",
            "PYTHONPATH": f"{self.folder}/site{os.pathsep}{code}",
        }


def record(arm: Arm) -> None:
    """Run the commit HEAD under DVC, with this machine's DVC and that Python, and write what it
    gave to dvc.aarch64.json."""
    with TemporaryDirectory(prefix="aarch64-") as scratch:
        copy = verify.check_out("HEAD", Path(scratch))
        set_values(copy / "params.yaml", RECORDED)
        variables = arm.variables(copy)
        words = ["env", *(f"{k}={v}" for k, v in variables.items()), *arm.python(RECORDED_ON)]
        python = Path(scratch) / "bin/python"
        python.parent.mkdir()
        python.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
        python.chmod(0o755)
        verify.repro(copy, PATH=f"{python.parent}{os.pathsep}{os.environ['PATH']}")
        version = subprocess.run(
            [python, "-c", "import torch; from tools import machine;"
             "print(f'PyTorch {torch.__version__}, {machine.system()}')"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        recorded = expected.Expected(
            computed_on=f"emulated by qemu-aarch64 -cpu {RECORDED_ON}; {version}",
            params=RECORDED,
            outputs=expected.read_digests(copy),
        )
    files.write(ROOT / "dvc.aarch64.json", files.canonical_json(recorded.model_dump()))


def main() -> None:
    parser = ArgumentParser(description="Fetch a Linux for ARM, or record what it computes.")
    parser.add_argument("folder", type=Path, help="where it is, or will be")
    parser.add_argument("--record", action="store_true", help="write dvc.aarch64.json")
    args = parser.parse_args()
    if QEMU is None:
        raise UserError("no qemu-aarch64: apt-get install qemu-user")
    arm = Arm(args.folder.resolve())
    if not arm.exists():
        arm.fetch()
    if args.record:
        record(arm)


if __name__ == "__main__":
    run(main)
