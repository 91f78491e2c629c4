"""The paths of the pipeline are those of dvc.yaml, which no tool repeats."""

import pytest

from stages.common.errors import UserError
from tests.support.runner import ROOT
from tools import dvc_files
from tools.dvc_files import Lock, Pipeline

PATHS = {
    dvc_files.DATA: "data/MNIST/raw",
    dvc_files.MODEL: "models/model.safetensors",
    dvc_files.HISTORY: "metrics/history.csv",
    dvc_files.METRICS: "metrics/metrics.json",
    dvc_files.PREDICTIONS: "metrics/predictions.csv",
    dvc_files.EPOCHS: "metrics/epochs.csv",
    dvc_files.PICTURES: "metrics/plots",
}


def test_each_output_is_where_dvc_yaml_says_and_no_tool_writes_its_path_down() -> None:
    dvc = Pipeline.parse((ROOT / "dvc.yaml").read_bytes())
    assert {output: dvc.path(output) for output in PATHS} == PATHS
    assert dvc.command("download") == ["-m", "stages.download", "data/MNIST/raw"]
    for source in (ROOT / "tools").rglob("*.*"):
        if source.suffix != ".pyc":
            text = source.read_text(encoding="utf-8")
            assert [path for path in PATHS.values() if path in text] == [], source


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("stages: {}", "has none"),
        ("stages: {evaluate: {cmd: x, plots: [a/epochs.csv, b/epochs.csv]}}", r"b/epochs\.csv"),
    ],
)
def test_an_output_that_is_not_there_once_is_named(text: str, reason: str) -> None:
    start = r"^dvc\.yaml: stages\.evaluate\.plots: must name one path that ends in 'epochs\.csv' "
    with pytest.raises(UserError, match=rf"{start}\(.*{reason}"):
        Pipeline.parse(text.encode()).path(dvc_files.EPOCHS)


def test_the_lock_holds_the_digests_of_outputs_and_of_code() -> None:
    data, code, model = ({"path": path, "md5": path[0]} for path in ("data", "train.py", "model"))
    train = {"cmd": "x", "deps": [data, code], "outs": [model]}
    lock = Lock.model_validate(
        {"stages": {"download": {"cmd": "x", "outs": [data]}, "train": train}}
    )
    assert lock.outputs == {"data": "d", "model": "m"}
    assert lock.code == {"train.py": "t"}


def test_a_parameter_is_in_the_file_that_a_stage_reads_it_from() -> None:
    params = "[model, train.lr, other.yaml: [train.seed, plot]]"
    pipeline = Pipeline.parse(f"stages: {{train: {{cmd: [a, b], params: {params}}}}}".encode())
    assert pipeline.file_of("train.seed") == pipeline.file_of("plot.dpi") == "other.yaml"
    assert pipeline.file_of("train.lr") == pipeline.file_of("model") == "params.yaml"
