from pathlib import Path

import pytest

from stages.common.errors import UserError
from tests.support.runner import ROOT
from tools import expected, machine
from tools.yaml_files import set_values

LOCK = expected.read_digests(ROOT)
OF_LOCK = expected.Expected(computed_on="", params={}, outputs=LOCK)
ON_ARM = """processor\t: 0
BogoMIPS\t: 243.75
CPU implementer\t: 0x41
CPU architecture: 8
CPU part\t: 0xd0c
"""


def test_dvc_lock_is_expected_where_an_architecture_has_no_file_and_on_x86_64(
    tmp_path: Path,
) -> None:
    (tmp_path / "dvc.lock").write_bytes((ROOT / "dvc.lock").read_bytes())
    forged = expected.Expected(computed_on="by hand", params={}, outputs={})
    (tmp_path / "dvc.x86_64.json").write_text(forged.model_dump_json())
    for architecture in ("x86_64", "riscv64"):
        assert expected.read(tmp_path, architecture) == ("dvc.lock", OF_LOCK)


def test_the_digests_of_arm_fit_this_pipeline() -> None:
    """What no arithmetic touches is the same on both; weights are not."""
    name, arm = expected.read(ROOT, "aarch64")
    assert name == "dvc.aarch64.json"
    assert arm.outputs.keys() == LOCK.keys()
    same = {path for path, digest in arm.outputs.items() if digest == LOCK[path]}
    assert {"data/MNIST/raw", "models/first_images.idx"} <= same
    assert "models/model.safetensors" not in same


def test_a_damaged_file_of_digests_is_named(tmp_path: Path) -> None:
    (tmp_path / "dvc.aarch64.json").write_text('{"params": {}}')
    with pytest.raises(UserError, match=r"^dvc\.aarch64\.json: 2 validation errors"):
        expected.read(tmp_path, "aarch64")


def test_params_change_where_they_are_named_and_nowhere_else(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    before = (ROOT / "params.yaml").read_text(encoding="utf-8")
    path.write_text(before, encoding="utf-8")
    set_values(path, {"train.epochs": 1, "train.augment.degrees": 10})
    changed = set(path.read_text(encoding="utf-8").splitlines()) - set(before.splitlines())
    assert changed == {"  epochs: 1", "    degrees: 10"}


def test_a_cpu_has_a_name_or_on_arm_numbers() -> None:
    assert machine.name(ON_ARM) == "CPU implementer 0x41, CPU part 0xd0c"
    assert machine.name("processor\t: 0\nmodel name\t: AMD EPYC\n") == "AMD EPYC"
