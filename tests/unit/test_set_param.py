"""`dvc exp run -S KEY=VALUE` writes params.yaml with DVC's own function, which is used here."""

import shutil
from difflib import ndiff
from pathlib import Path

from dvc.utils.hydra import apply_overrides

from stages.common import params
from tests.support.runner import ROOT
from tools.dvc_files import Pipeline
from tools.validate import groups

PARAMS = ROOT / "params.yaml"


def test_values_are_set_and_nothing_else_changes(tmp_path: Path) -> None:
    path = Path(shutil.copy(PARAMS, tmp_path))
    values = {
        "train.lr": "1.25e-2",
        "train.augment.degrees": "17",
        "download.mirrors": "[https://a.org/]",
        "download.sha256.t10k-labels-idx1-ubyte": "f" * 64,
    }
    apply_overrides(path, [f"{key}={value}" for key, value in values.items()])
    for group, models in groups(Pipeline.parse((ROOT / "dvc.yaml").read_bytes())).items():
        for model in models:
            params.load(path, group, model)
    before, after = (file.read_text(encoding="utf-8").splitlines() for file in (PARAMS, path))
    changed = {line[2:].partition("  #")[0] for line in ndiff(before, after) if line[0] == "+"}
    assert changed == {
        "  lr: 0.0125",
        "    degrees: 17",
        "  - https://a.org/",
        f"      {'f' * 64}",
    }
