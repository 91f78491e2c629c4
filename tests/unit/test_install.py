"""What the project says of itself agrees with install.py."""

import platform
import re
import sys
from urllib.parse import urlsplit

import pytest

import install
from tests.support.runner import ROOT, imported

RANGE = "{}.{} to {}.{}".format(*install.OLDEST, *install.NEWEST)


@pytest.mark.parametrize(
    "name", ["README.md", "docs/installing.md", "requirements.txt", "stages/__init__.py"]
)
def test_the_versions_of_python_are_the_same_everywhere(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert set(re.findall(r"3\.\d+ to 3\.\d+", text)) == {RANGE}


def test_nothing_has_to_be_installed_for_it() -> None:
    tops = {name.partition(".")[0] for name in imported(ROOT / "install.py")}
    assert tops <= sys.stdlib_module_names


def test_on_arm_the_build_is_the_one_that_the_digests_are_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(install, "has_gpu", lambda: False)
    cpu, reason = install.choose("", "https://index.invalid/whl/cpu")
    assert not cpu
    assert reason == "elsewhere than on x86-64 the bytes are those of PyPI's build"


def test_the_address_of_the_index_has_one_home() -> None:
    folders = ("stages", "tools", "tests", "benchmarks", "docs", ".ci", ".github")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    files += [path for path in ROOT.iterdir() if path.is_file()]
    host = urlsplit(install.CPU_INDEX).netloc.encode()
    assert [path.name for path in files if host in path.read_bytes()] == ["install.py"]
