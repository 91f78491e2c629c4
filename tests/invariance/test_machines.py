"""The same files on other CPUs, which QEMU emulates instruction by instruction."""

import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.invariance.conftest import Pipeline
from tests.support import runner

QEMU = shutil.which("qemu-x86_64")
CAPABILITY = "import torch; print(torch.backends.cpu.get_cpu_capability())"
UNPINNED = "from stages.model import numerics; numerics.SETTINGS.clear()"
WORKERS = {"Haswell-v4": "1", "EPYC-Rome-v4": "2"}  # Intel and AMD, both with AVX2, not AVX-512


@pytest.mark.slow  # a minute, on two cores
@pytest.mark.skipif(QEMU is None, reason="no qemu-x86_64: apt-get install qemu-user")
def test_an_intel_and_an_amd_cpu_give_the_same_files_as_this_one(
    pipeline: Pipeline, here: dict[str, str], tmp_path: Path
) -> None:
    def emulate(cpu: str) -> dict[str, str]:
        # QEMU starts a program, not a symbolic link to it. By the link's name (-0) Python finds
        # the packages of its environment. On Rome QEMU warns of features that it lacks (clzero,
        # misalignsse, perfctr-core, topoext, xsavec). None of them is arithmetic.
        program = str(Path(sys.executable).resolve())
        python = [str(QEMU), "-cpu", cpu, "-0", sys.executable, program]
        return pipeline(tmp_path / cpu, python=python, PIPELINE_WORKERS=WORKERS[cpu])

    with ThreadPoolExecutor() as pool:
        results = dict(zip(WORKERS, pool.map(emulate, WORKERS), strict=True))
    assert results == dict.fromkeys(WORKERS, here)


@pytest.mark.slow
def test_without_the_settings_this_cpu_gives_other_weights(
    pipeline: Pipeline, here: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ATEN_CPU_CAPABILITY")  # set in this process, which is pinned
    if runner.python("-c", CAPABILITY).stdout.strip() != "AVX512":
        pytest.skip("this CPU has no AVX-512: it runs AVX2 code without the settings too")
    unpinned = pipeline(tmp_path / "run", first=UNPINNED, PIPELINE_WORKERS="2")
    assert unpinned.keys() == here.keys()
    assert unpinned["models/model.safetensors"] != here["models/model.safetensors"]
    assert unpinned["data/MNIST/raw/SHA256SUMS"] == here["data/MNIST/raw/SHA256SUMS"]
