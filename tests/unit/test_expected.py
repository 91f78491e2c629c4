from pathlib import Path

import pytest

from stages.common.errors import UserError
from tests.support.runner import ROOT
from tools import expected

LOCK = expected.read_digests(ROOT)
OF_LOCK = expected.Expected(computed_on="", params={}, outputs=LOCK)


def test_dvc_lock_is_expected_where_an_architecture_has_no_file_and_on_x86_64(
    tmp_path: Path,
) -> None:
    (tmp_path / "dvc.lock").write_bytes((ROOT / "dvc.lock").read_bytes())
    forged = expected.Expected(computed_on="by hand", params={}, outputs={})
    (tmp_path / "dvc.x86_64.json").write_text(forged.model_dump_json())
    for architecture in ("x86_64", "riscv64"):
        assert expected.read(tmp_path, architecture) == ("dvc.lock", OF_LOCK)


@pytest.mark.committed
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
