"""What contradicts what in a run's evidence, on three images of two digits."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.common import mnist
from stages.common.files import sha256
from stages.common.tables import EpochScores, Prediction
from tests.support.runner import ROOT
from tools.compare.consistency import agreement, contradictions, warnings
from tools.compare.evidence import Evidence, Recipe
from tools.dvc_files import Pipeline
from tools.git import WORKSPACE

PIN = sha256(mnist.encode_idx(np.array([0, 0, 7], np.uint8)))
ROWS = [Prediction(0, 0, 0, 0.9), Prediction(1, 0, 3, 0.6), Prediction(2, 7, 7, 0.8)]
LEAST = -np.log(
    np.add([0.9, 0.4, 0.8], 0.5e-6)
).mean()  # 1 - 0.6: the label of image 1 was less probable
METRICS = {
    "test.accuracy": 0.666667, "test.loss": 0.5, "per_digit.0": 0.5, "per_digit.7": 1.0,
}  # fmt: skip
EPOCHS = [EpochScores(1, 0.7, 0.333333, None, None), EpochScores(2, 0.5, 0.666667, None, None)]
PARAMS = {"train.epochs": 2, "download.sha256.t10k-labels-idx1-ubyte": PIN}


def found(
    rows: list[Prediction] = ROWS,
    epochs: list[EpochScores] = EPOCHS,
    params: dict[str, Any] = PARAMS,
    metrics: Mapping[str, float | None] = METRICS,
) -> list[str]:
    """The contradictions in these files, with some metrics changed, or removed (None)."""
    changed = {**METRICS, **metrics}
    evidence = Evidence(
        revision=WORKSPACE,
        pipeline=Pipeline.parse((ROOT / "dvc.yaml").read_bytes()),
        params=params,
        metrics={name: value for name, value in changed.items() if value is not None},
        predictions=pd.DataFrame(rows),
        epochs=pd.DataFrame(epochs).astype(
            {"validation_loss": float, "validation_accuracy": float}
        ),
        digests={},
        code={},
        recipe=Recipe({}, {}, {}),
        requirements={},
        stale=[],
    )
    return contradictions(evidence)


def test_files_that_agree() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("metrics", "lines"),
    [
        (
            {"test.accuracy": 0.9999},
            [
                "test.accuracy is 0.9999, but metrics/predictions.csv gives 0.666667 (2 of 3)",
                "test.accuracy is 0.9999, but the last row of metrics/epochs.csv gives 0.666667",
            ],
        ),
        (
            {"per_digit.0": 1.0},
            ["per_digit.0 is 1.0, but metrics/predictions.csv gives 0.5 (1 of 2)"],
        ),
        (
            {"per_digit.7": None},
            ["per_digit.7 is none, but metrics/predictions.csv gives 1.0 (1 of 1)"],
        ),
        (
            {"per_digit.8": 1.0},
            ["per_digit.8 is 1.0, but metrics/predictions.csv gives none (0 of 0)"],
        ),
        (
            {"test.loss": 0.1},
            [
                "test.loss is 0.1, but the confidences in metrics/predictions.csv give at least"
                f" {LEAST:.6f}",
                "test.loss is 0.1, but the last row of metrics/epochs.csv gives 0.5",
            ],
        ),
        (
            {"validation.loss": 0.3},
            ["validation.loss is 0.3, but the last row of metrics/epochs.csv gives none"],
        ),
    ],
)
def test_a_metric_that_does_not_follow(metrics: dict[str, float | None], lines: list[str]) -> None:
    found_lines = found(metrics=metrics)
    assert [line.removeprefix("metrics/metrics.json: ") for line in found_lines] == lines


@pytest.mark.parametrize("offset", [-2e-6, 2e-6])
def test_the_loss_may_be_as_low_as_the_confidences_allow(offset: float) -> None:
    loss = round(float(LEAST) + offset, 6)
    epochs = [EPOCHS[0], EpochScores(2, loss, 0.666667, None, None)]
    assert len(found(epochs=epochs, metrics={"test.loss": loss})) == (offset < 0)


@pytest.mark.parametrize("confidence", [0.05, 1.2])
def test_a_confidence_that_the_most_probable_digit_cannot_have(confidence: float) -> None:
    rows = [*ROWS[:2], Prediction(2, 7, 7, confidence)]
    assert found(rows) == [
        f"metrics/predictions.csv: the confidence of image 2 is {confidence}, not 0.1 to 1"
    ]


def test_confidences_of_zero_and_one_have_a_loss() -> None:
    """Six decimals hide what is nearer: nothing says that the loss is infinite."""
    rows = [Prediction(0, 0, 0, 1.0), Prediction(1, 0, 3, 1.0), Prediction(2, 7, 7, 1.0)]
    epochs = [EPOCHS[0], EpochScores(2, 5.0, 0.666667, None, None)]
    assert found(rows, epochs, metrics={"test.loss": 5.0}) == []


def test_an_epoch_that_is_missing() -> None:
    assert found(epochs=EPOCHS[1:]) == [
        "metrics/epochs.csv: has the epochs 2, but train.epochs is 2"
    ]
    assert found(params=PARAMS | {"train.epochs": 3}) == [
        "metrics/epochs.csv: has the epochs 1, 2, but train.epochs is 3"
    ]


def test_other_labels() -> None:
    """Seen without MNIST: the labels of all rows make up the file whose digest is pinned."""
    rows = [ROWS[0], ROWS[1], Prediction(2, 8, 8, 0.8)]
    file = "t10k-labels-idx1-ubyte"
    digest = sha256(mnist.encode_idx(np.array([0, 0, 8], np.uint8)))
    assert found(rows, metrics={"per_digit.7": None, "per_digit.8": 1.0}) == [
        f"metrics/predictions.csv: the labels as {file} have the SHA-256 {digest}, but"
        f" download.sha256.{file} is {PIN}"
    ]


def test_the_committed_run_agrees_and_the_report_says_so() -> None:
    assert warnings({"main": [], "change": []}) == []
    assert agreement({"main": [], "change": []})[0].startswith("The files of each revision agree")


def test_the_report_names_the_revision_and_each_line_first() -> None:
    conflicts = {"main": [], "change": ["a `b`", "c"]}
    assert agreement(conflicts) == []
    assert warnings(conflicts) == [
        "**Do not believe what follows: the files of `change` contradict each other.** Run `dvc"
        " repro --force` there, and compare again.\n\n- `` a `b` ``\n- `c`"
    ]
