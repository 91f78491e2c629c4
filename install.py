"""Make a Python environment and install what the project needs; `make` starts this script too.

    python3 install.py [VENV [REQUIREMENTS]]    # by default: .venv requirements.txt

Nothing has to be installed before. After a stop, the same command goes on.

For Linux there are two builds of PyTorch. pip finds the CUDA build, which is gigabytes large. The
CPU build is on an index of PyTorch's own. This script adds that index to those that pip uses if
the machine has no NVIDIA GPU and the index answers. Two environment variables change that:

    TORCH=cpu, TORCH=cuda    install this build
    TORCH_INDEX=URL          another address of the CPU build, as that of a mirror
"""

import argparse
import os
import platform
import shutil
import signal
import subprocess
import sys
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

OLDEST, NEWEST = (3, 11), (3, 14)  # the versions of Python that the pinned packages have wheels for
CPU_INDEX = "https://download.pytorch.org/whl/cpu"  # from "Get started" on pytorch.org
SOURCES = (  # pip's settings of where packages come from, and of how to get there
    "index-url", "extra-index-url", "no-index", "find-links", "constraint",
    "proxy", "cert", "client-cert", "trusted-host",
)  # fmt: skip

if not OLDEST <= sys.version_info[:2] <= NEWEST:  # before anything that an older one cannot run
    sys.exit(
        f"{sys.executable} is Python {sys.version.split()[0]}, and the packages are for "
        f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}. "
        "Name one of those: make PYTHON=python3.12 repro"
    )


def main() -> None:
    """Make the environment if it is not there, choose the build, install."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends this script without a traceback
    parser = argparse.ArgumentParser(description="Make an environment, and install into it.")
    parser.add_argument("venv", nargs="?", default=".venv", type=Path)
    parser.add_argument("requirements", nargs="?", default="requirements.txt")
    args = parser.parse_args()
    wish = os.environ.get("TORCH", "")
    index = (os.environ.get("TORCH_INDEX") or CPU_INDEX).rstrip("/")
    if wish not in ("", "cpu", "cuda"):
        sys.exit(f"TORCH is {wish!r}. It may be cpu, cuda, or empty")

    python = make_environment(args.venv)
    cpu, reason = choose(wish, index)
    name, command = installer(python, index, cpu)
    build = "PyTorch's CPU build" if cpu else "PyTorch as it is found"
    line = f"Installing {args.requirements} into {args.venv} with {name}, and {build}: {reason}"
    print(line, flush=True)
    quiet = [] if sys.stdout.isatty() else ["--quiet"]  # a log gets the line above, and errors
    run(*command, *quiet, "-r", args.requirements)
    check_build(args.venv, wish)


def make_environment(venv: Path) -> Path:
    """Make an environment with pip, if it is not there whole; the path of its Python.

    pip and uv know by a folder NAME-VERSION.dist-info that a package is installed. In it they
    write INSTALLER last, after the package's commands: without it, the installation was killed.
    """
    for metadata in installed(venv):
        if not (metadata / "INSTALLER").exists():
            shutil.rmtree(metadata)  # so the package is installed again, over its other files
    if not installed(venv, "pip"):
        run(sys.executable, "-m", "venv", str(venv))  # which installs pip last
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def installed(venv: Path, name: str = "*") -> list[Path]:
    """The folders NAME-VERSION.dist-info in an environment."""
    site = "Lib/site-packages" if os.name == "nt" else "lib/python3*/site-packages"
    return list(venv.glob(f"{site}/{name}-*.dist-info"))


def choose(wish: str, index: str) -> tuple[bool, str]:
    """Whether to take the CPU build from its index, and why. Exits if it must and cannot."""
    if sys.platform != "linux":
        if wish == "cuda":
            sys.exit('TORCH=cuda is for Linux. For Windows see "Get started" on pytorch.org')
        return False, "it has one build for this system"
    if wish == "cuda":
        return False, "TORCH=cuda"
    if not wish and has_gpu():
        return False, "this machine has an NVIDIA GPU"
    if not wish and platform.machine() != "x86_64":  # stages/model/numerics.py
        return False, "elsewhere than on x86-64 the bytes are those of PyPI's build"
    problem = ask(index)
    if wish and problem:
        sys.exit(f"TORCH=cpu: {problem}. Without TORCH, pip takes the build that it finds")
    if problem:
        return False, problem
    return True, "TORCH=cpu" if wish else "no NVIDIA GPU was found"


def has_gpu() -> bool:
    """Whether the NVIDIA driver lists a GPU."""
    command = ["nvidia-smi", "-L"]
    try:
        process = subprocess.run(command, capture_output=True, timeout=10, check=False)
    except FileNotFoundError:
        return False
    except subprocess.TimeoutExpired:  # there is a driver, and it is busy
        return True
    return process.stdout.startswith(b"GPU ")


def ask(index: str) -> str:
    """What is wrong with an index of packages; nothing if it answers soon."""
    try:
        with urlopen(f"{index}/torch/", timeout=2.5):  # noqa: S310 - the user's own
            return ""
    except (OSError, ValueError, HTTPException) as error:
        problem = getattr(error, "reason", error)
    return f"{urlsplit(index).hostname} cannot be reached ({problem})"


def installer(python: Path, index: str, cpu: bool) -> tuple[str, list[str]]:
    """The name of what installs, and its command.

    It is uv if that is there and pip would do the same: uv does not read pip's settings, and has
    the address of PyTorch's index built in.
    """
    pip = [str(python), "-m", "pip"]
    settings = subprocess.run([*pip, "config", "list"], stdout=subprocess.PIPE, check=False).stdout
    told = any(f".{name}=".encode() in settings for name in SOURCES) or index != CPU_INDEX
    uv = shutil.which("uv")
    if uv and not told:
        backend = ["--torch-backend", "cpu"] if cpu else []
        return "uv", [uv, "pip", "install", "--python", str(python), *backend]
    extra = ["--extra-index-url", index] if cpu else []  # beside those of pip's settings
    return "pip", [*pip, "install", "--disable-pip-version-check", *extra]


def check_build(venv: Path, wish: str) -> None:
    """Exit if PyTorch was there before, in another build than the user wishes. Elsewhere than on
    Linux there is one build, whose version does not say which it is."""
    for torch in installed(venv, "torch"):
        found = "cpu" if "+cpu" in torch.name else "cuda"
        if sys.platform == "linux" and wish not in ("", found):
            sys.exit(
                f"{venv} has the {found} build of PyTorch, and TORCH={wish} asks for the other. "
                f"To install anew: make clean TORCH={wish} repro"
            )


def run(*command: str) -> None:
    """Run a command. Exit if it fails, after what it has said itself."""
    status = subprocess.run(command, check=False).returncode
    if status:
        sys.exit(f"Status {status} of: {' '.join(command)}\nThe next `make` goes on from here")


if __name__ == "__main__":
    main()
