"""The paths of the pipeline are those of dvc.yaml, which no tool repeats."""

import os
import sys
from pathlib import Path

import pytest

from stages.common.errors import UserError
from tests.support.run_files import RIGHT, git, write_run
from tests.support.runner import ROOT, STAGES
from tools import dvc_files
from tools.dvc_files import Lock, Pipeline, read_pipeline
from tools.git import WORKSPACE, resolve
from tools.processes import run_python

OUTPUTS = {
    name if isinstance(name, str) else next(iter(name))
    for stage in STAGES.values()
    for kind in ("outs", "metrics", "plots")
    for name in stage.get(kind, [])
}
PATHS = {
    dvc_files.DATA: "data/MNIST/raw",
    dvc_files.MODEL: "models/model.safetensors",
    dvc_files.HISTORY: "metrics/history.csv",
    dvc_files.METRICS: "metrics/metrics.json",
    dvc_files.PREDICTIONS: "metrics/predictions.csv",
    dvc_files.EPOCHS: "metrics/epochs.csv",
    dvc_files.PICTURES: "metrics/plots",
}


def parse(text: str) -> Pipeline:
    return Pipeline.parse(text.encode())


def test_each_output_is_where_dvc_yaml_says() -> None:
    dvc = Pipeline.parse((ROOT / "dvc.yaml").read_bytes())
    assert {output: dvc.path(output) for output in PATHS} == PATHS
    assert dvc.command("download") == ["-m", "stages.download", "data/MNIST/raw"]


@pytest.mark.parametrize("path", sorted(OUTPUTS))
def test_no_tool_writes_such_a_path_down(path: str) -> None:
    sources = [file for file in (ROOT / "tools").rglob("*") if file.suffix not in {".pyc", ""}]
    assert len(sources) > 20
    assert [file for file in sources if path in file.read_text(encoding="utf-8")] == []


@pytest.mark.usefixtures("repository")
def test_each_revision_has_its_own_paths() -> None:
    git("tag", "old")
    write_run(Path(), 0.1, 0, RIGHT, metrics="scores")
    assert read_pipeline(resolve("old")).path(dvc_files.METRICS) == "metrics/metrics.json"
    assert read_pipeline(WORKSPACE).path(dvc_files.METRICS) == "scores/metrics.json"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("stages: {}", "has none"),
        ("stages: {evaluate: {cmd: x}}", "has none"),
        ("stages: {evaluate: {cmd: x, plots: [a.csv, {b.csv: {x: 1}}]}}", r"has a\.csv, b\.csv"),
        ("stages: {evaluate: {cmd: x, plots: [a/epochs.csv, b/epochs.csv]}}", r"b/epochs\.csv"),
    ],
)
def test_an_output_that_is_not_there_once_is_named(text: str, reason: str) -> None:
    start = r"^dvc\.yaml: stages\.evaluate\.plots: must name one path that ends in 'epochs\.csv' "
    with pytest.raises(UserError, match=rf"{start}\(.*{reason}"):
        parse(text).path(dvc_files.EPOCHS)


@pytest.mark.usefixtures("repository")
def test_a_damaged_dvc_yaml_is_one_line() -> None:
    Path("dvc.yaml").write_text("stages: {train: {outs: [x]}}\n")
    with pytest.raises(UserError, match=r"^workspace: dvc\.yaml: not as .* stages\.train\.cmd"):
        dvc_files.locate(dvc_files.MODEL)


@pytest.mark.usefixtures("repository")
def test_the_lock_holds_the_digests_of_outputs_and_of_code() -> None:
    lock = Lock.parse(Path("dvc.lock").read_bytes())
    assert list(lock.outputs) == [
        "data/MNIST/raw", "metrics/predictions.csv", "metrics/metrics.json", "metrics/epochs.csv",
    ]  # fmt: skip
    # printf 'print(1)\n' | md5sum
    assert lock.code == {"stages/train.py": "dee5c46989f5ec092311188f4fe829c3"}


def test_python_runs_with_itself_first_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.defpath)
    code = (
        "import os, shutil, sys; from pathlib import Path;"
        "assert os.environ['EXTRA'] == '1';"
        "Path('found').write_text(shutil.which('python')); sys.exit(7)"
    )
    assert run_python("-c", code, folder=tmp_path, variables={"EXTRA": "1"}) == 7
    python = (tmp_path / "found").read_text()
    assert Path(python).parent == Path(sys.executable).parent
    assert "EXTRA" not in os.environ
