"""The same files on all 64-bit ARM CPUs, which QEMU emulates. The folder with a Linux for ARM must
be there, and its path in $AARCH64; tests/support/aarch64.py fetches it. A quarter of an hour."""

import os
from pathlib import Path

import pytest

from tests.invariance.conftest import Pipeline
from tests.support import aarch64
from tests.support.runner import ROOT

ARM = aarch64.Arm(Path(os.environ.get("AARCH64", "/nowhere")).resolve())
WORKERS = {"cortex-a72": "1", "neoverse-n1": "2", "neoverse-v1": "1", "max": "2"}  # two with SVE
CHANGE = "from stages.model import numerics; numerics.SETTINGS"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(aarch64.QEMU is None, reason="no qemu-aarch64: apt-get install qemu-user"),
    pytest.mark.skipif(
        not ARM.exists(), reason="no Linux for ARM in $AARCH64: see CONTRIBUTING.md"
    ),
]


def emulate(pipeline: Pipeline, folder: Path, cpu: str, first: str = "") -> dict[str, str]:
    variables = ARM.variables(ROOT) | {"PIPELINE_WORKERS": WORKERS[cpu]}
    return pipeline(folder, first, ARM.python(cpu), -1, **variables)


@pytest.fixture(scope="module")
def neoverse_n1(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return emulate(pipeline, tmp_path_factory.mktemp("arm") / "run", "neoverse-n1")


@pytest.mark.parametrize("cpu", sorted(WORKERS.keys() - {"neoverse-n1"}))
def test_arm_cpus_give_the_same_files(
    pipeline: Pipeline, neoverse_n1: dict[str, str], tmp_path: Path, cpu: str
) -> None:
    assert emulate(pipeline, tmp_path / "run", cpu) == neoverse_n1


@pytest.mark.parametrize(
    "change",
    ["['ATEN_CPU_CAPABILITY'] = 'sve256'", "['NVPL_BLAS_DEBUG_CPU_TYPE'] = '2'"],
)
def test_without_a_setting_a_cpu_with_sve_gives_other_weights(
    pipeline: Pipeline, neoverse_n1: dict[str, str], tmp_path: Path, change: str
) -> None:
    found = emulate(pipeline, tmp_path / "run", "neoverse-v1", CHANGE + change)
    assert found.keys() == neoverse_n1.keys()
    assert found["models/model.safetensors"] != neoverse_n1["models/model.safetensors"]
