"""What install.py decides on other machines than this one, and what the pages say of it."""

import platform
import re
import sys
from pathlib import Path

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


def test_only_on_linux_a_version_without_cpu_is_the_cuda_build(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch = Path("torch-2.13.0.dist-info")
    monkeypatch.setattr(install, "installed", lambda _venv, _name: [torch])
    for system in ("darwin", "win32"):
        monkeypatch.setattr(sys, "platform", system)
        cpu, _ = install.choose("cpu", "https://index.invalid")
        assert not cpu  # its index is not asked
        install.check_build(Path(".venv"), "cpu")
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(SystemExit, match="has the cuda build"):
        install.check_build(Path(".venv"), "cpu")
