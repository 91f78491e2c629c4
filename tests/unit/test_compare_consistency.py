"""What contradicts what in a run's files, on three images of two digits."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.common import mnist
from stages.common.files import sha256
from stages.common.tables import EpochScores, Prediction
from tests.support.runner import ROOT
from tools.compare.consistency import contradictions
from tools.compare.runs import Recipe, Run
from tools.dvc_files import Pipeline
from tools.git import WORKSPACE

PINNED = "download.sha256.t10k-labels-idx1-ubyte"
ROWS = [Prediction(0, 0, 0, 0.9), Prediction(1, 0, 3, 0.6), Prediction(2, 7, 7, 0.8)]
# Image 1 is wrong with 0.6: its label had 0.4 or less. Six decimals may hide half of the last.
LEAST = float(-np.log(np.add([0.9, 0.4, 0.8], 0.5e-6)).mean())
METRICS = {"test.accuracy": 0.666667, "test.loss": 0.5, "per_digit.0": 0.5, "per_digit.7": 1.0}
EPOCHS = [EpochScores(1, 0.7, 0.333333, None, None), EpochScores(2, 0.5, 0.666667, None, None)]


def labels_digest(*labels: int) -> str:
    return sha256(mnist.encode_idx(np.array(labels, np.uint8)))


PARAMS = {"train.epochs": 2, PINNED: labels_digest(0, 0, 7)}


def found(
    *,
    rows: list[Prediction] = ROWS,
    epochs: list[EpochScores] = EPOCHS,
    params: dict[str, Any] = PARAMS,
    metrics: Mapping[str, float | None] = {},
) -> list[str]:
    """The contradictions in these files, with some metrics changed, or removed (None)."""
    changed = {**METRICS, **metrics}
    run = Run(
        revision=WORKSPACE,
        pipeline=Pipeline.parse((ROOT / "dvc.yaml").read_bytes()),
        params=params,
        metrics={name: value for name, value in changed.items() if value is not None},
        predictions=pd.DataFrame(rows),
        epochs=pd.DataFrame(epochs).astype(dict.fromkeys(EpochScores._fields[1:], float)),
        digests={},
        code={},
        recipe=Recipe({}, {}, {}),
        requirements={},
        stale=[],
    )
    return contradictions(run)


def last_epoch(loss: float) -> list[EpochScores]:
    return [EPOCHS[0], EPOCHS[1]._replace(loss=loss)]


@pytest.mark.parametrize(
    ("name", "value", "facts"),
    [
        ("test.accuracy", 0.9999, ["predictions.csv gives 0.666667 (2 of 3)",
                                   "the last row of metrics/epochs.csv gives 0.666667"]),
        ("per_digit.0", 1.0, ["predictions.csv gives 0.5 (1 of 2)"]),
        ("per_digit.7", None, ["predictions.csv gives 1.0 (1 of 1)"]),
        ("per_digit.8", 1.0, ["predictions.csv gives none (0 of 0)"]),
        ("test.loss", 0.1, [f"the confidences in metrics/predictions.csv give at least {LEAST:.6f}",
                            "the last row of metrics/epochs.csv gives 0.5"]),
        ("validation.loss", 0.3, ["the last row of metrics/epochs.csv gives none"]),
    ],
)  # fmt: skip
def test_a_metric_that_does_not_follow(name: str, value: float | None, facts: list[str]) -> None:
    lines = found(metrics={name: value})
    shown = "none" if value is None else value
    for line, fact in zip(lines, facts, strict=True):
        assert line.startswith(f"metrics/metrics.json: {name} is {shown}, but ")
        assert line.endswith(fact)


@pytest.mark.parametrize("offset", [-2e-6, 2e-6])
def test_the_loss_may_be_as_low_as_the_confidences_allow(offset: float) -> None:
    loss = round(LEAST + offset, 6)
    assert len(found(epochs=last_epoch(loss), metrics={"test.loss": loss})) == (offset < 0)


def test_files_that_agree_also_with_confidences_of_one() -> None:
    """Six decimals hide what is nearer: nothing says that the loss is infinite."""
    assert found() == []
    rows = [row._replace(confidence=1.0) for row in ROWS]
    assert found(rows=rows, epochs=last_epoch(5.0), metrics={"test.loss": 5.0}) == []


@pytest.mark.parametrize("confidence", [0.05, 1.2])
def test_a_confidence_that_the_most_probable_digit_cannot_have(confidence: float) -> None:
    rows = [*ROWS[:2], ROWS[2]._replace(confidence=confidence)]
    assert found(rows=rows) == [
        f"metrics/predictions.csv: the confidence of image 2 is {confidence}, not 0.1 to 1"
    ]


@pytest.mark.parametrize(
    ("epochs", "expected", "has"), [(EPOCHS[1:], 2, "2"), (EPOCHS[1:], 1, "2"), (EPOCHS, 3, "1, 2")]
)
def test_an_epoch_that_is_missing(epochs: list[EpochScores], expected: int, has: str) -> None:
    assert found(epochs=epochs, params=PARAMS | {"train.epochs": expected}) == [
        f"metrics/epochs.csv: has the epochs {has}, but train.epochs is {expected}"
    ]


def test_other_labels() -> None:
    """Seen without MNIST: the labels of all rows make up the file whose digest is pinned."""
    rows = [*ROWS[:2], Prediction(2, 8, 8, 0.8)]
    (line,) = found(rows=rows, metrics={"per_digit.7": None, "per_digit.8": 1.0})
    assert line.startswith("metrics/predictions.csv: the labels as t10k-labels-idx1-ubyte have")
    assert line.endswith(f" {labels_digest(0, 0, 8)}, but {PINNED} is {labels_digest(0, 0, 7)}")
