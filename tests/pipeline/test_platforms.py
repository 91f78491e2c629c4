"""All that is required, resolved by uv for other systems and versions of Python: nothing is
installed, and only metadata is fetched."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import install
from tests.support.requirements import listed
from tests.support.runner import ROOT

pytestmark = [pytest.mark.index, pytest.mark.slow]

UV = Path(sys.executable).with_name("uv")
# PyTorch's CUDA build pins these itself. Its CPU build does not need them.
OF_CUDA = re.compile("nvidia-|cuda-|triton")
FILES = ["requirements-dev.txt", "requirements-s3.txt"]  # and all that they include
LINUX = "x86_64-manylinux_2_28"  # glibc 2.28 is of 2018
PLATFORMS = [LINUX, "aarch64-manylinux_2_28", "aarch64-apple-darwin", "x86_64-pc-windows-msvc"]
MACOS_VERSION = {"MACOSX_DEPLOYMENT_TARGET": "14.0"}  # PyTorch has no wheels for an older one
WHEELS = ["--only-binary=:all:", "--no-binary=antlr4-python3-runtime"]  # pure Python, without wheel


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for what uv fetches. Skips the test if no index answers."""
    folder = tmp_path_factory.mktemp("uv")
    (folder / "six.txt").write_text("six")
    process = resolve(folder, install.NEWEST, LINUX, str(folder / "six.txt"))
    if process.returncode:
        pytest.skip(f"no package index can be reached: {process.stderr.splitlines()[-1]}")
    return folder


def resolve(
    cache: Path, python: tuple[int, int], platform: str, *files: str
) -> subprocess.CompletedProcess[str]:
    """Choose a wheel for each package and for what it needs; their names and versions."""
    command = [str(UV), "pip", "compile", "--quiet", "--no-header", "--no-annotate", *WHEELS]
    version = ".".join(map(str, python))
    target = [f"--cache-dir={cache}", f"--python-version={version}", "--no-python-downloads"]
    return subprocess.run(
        [*command, *target, f"--python-platform={platform}", *files],
        cwd=ROOT,
        env=os.environ | MACOS_VERSION,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("python", [install.OLDEST, install.NEWEST])
@pytest.mark.parametrize("platform", PLATFORMS)
def test_everything_has_wheels_and_is_listed(
    python: tuple[int, int], platform: str, cache: Path
) -> None:
    process = resolve(cache, python, platform, *FILES)
    assert process.returncode == 0, process.stderr
    found = {canonicalize_name(Requirement(line).name) for line in process.stdout.splitlines()}
    expected = {name for file in FILES for name in listed(file)}
    assert {name for name in found - expected if not OF_CUDA.match(name)} == set()
    assert "torch" in found
