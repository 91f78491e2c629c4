"""`dvc exp run -S KEY=VALUE` writes params.yaml with DVC's own function, which is used here."""

import shutil
from difflib import ndiff
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides

from stages.common import params
from tests.support.runner import ROOT
from tools.validate import GROUPS
from tools.yaml_files import flatten, parse_yaml

PARAMS = ROOT / "params.yaml"


@pytest.mark.parametrize(
    ("key", "text", "value", "lines"),
    [
        ("train.lr", "1e-2", 0.01, {"  lr: 0.01"}),
        ("train.augment.degrees", "10", 10, {"    degrees: 10"}),
        ("download.mirrors", "[https://a.org/]", ["https://a.org/"], {"  - https://a.org/"}),
        ("download.sha256.t10k-labels-idx1-ubyte", "f" * 64, "f" * 64, {f"      {'f' * 64}"}),
    ],
)
def test_a_key_is_set_and_nothing_else_changes(
    tmp_path: Path, key: str, text: str, value: object, lines: set[str]
) -> None:
    path = Path(shutil.copy(PARAMS, tmp_path))
    apply_overrides(path, [f"{key}={text}"])
    before, after = PARAMS.read_bytes(), path.read_bytes()
    assert flatten(parse_yaml(after)) == flatten(parse_yaml(before)) | {key: value}
    group = key.partition(".")[0]
    params.load(path, group, GROUPS[group])
    changed = ndiff(before.decode().splitlines(), after.decode().splitlines())
    assert {line[2:].partition("  #")[0] for line in changed if line[0] == "+"} == lines
