import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from stages import evaluate
from stages.common import tables
from stages.common.errors import UserError
from stages.common.tables import EpochScores, Prediction
from stages.model import numerics, scoring
from stages.model.network import Network
from tests.support import runner, tiny


def outputs(*predicted: tuple[int, float]) -> scoring.LogProbabilities:
    """Log probabilities from (digit, its probability) of each image; the rest is spread evenly."""
    rows = np.empty((len(predicted), 10), np.float32)
    for row, (digit, probability) in zip(rows, predicted, strict=True):
        row[:] = math.log((1 - probability) / 9)
        row[digit] = math.log(probability)
    return rows


LABELS = np.array([3, 3, 3, 3, 7, 9], np.uint8)
IMAGES = np.zeros((6, 28, 28, 1), np.uint8)
SETS = {"test": (IMAGES, LABELS), "validation": (IMAGES[:3], LABELS[:3])}
OUTPUTS = outputs((3, 0.5), (3, 0.8), (3, 0.9), (8, 0.91), (7, 0.64), (4, 0.55))


def test_loss_is_the_mean_over_the_images_of_the_true_labels_negative_log() -> None:
    likelihoods = [0.5, 0.8, 0.9, 0.01, 0.64, 0.05]
    expected = sum(-math.log(likelihood) for likelihood in likelihoods) / 6
    assert evaluate.mean_loss(OUTPUTS, LABELS) == pytest.approx(expected, rel=1e-6)


def test_a_digits_accuracy_is_a_fraction_of_that_digits_images() -> None:
    assert evaluate.per_digit(OUTPUTS, LABELS) == {"3": 0.75, "7": 1.0, "9": 0.0}


def test_each_set_is_summarised_with_six_decimals() -> None:
    metrics = evaluate.summarise({"test": OUTPUTS, "validation": OUTPUTS[:3]}, SETS)
    assert metrics["test"]["accuracy"] == 0.666667
    assert metrics["validation"] == {"accuracy": 1.0, "loss": 0.340550}


def test_predictions_have_a_row_for_each_image_with_the_predicted_digits_probability() -> None:
    rows = evaluate.predictions(OUTPUTS, LABELS)
    confidences = [0.5, 0.8, 0.9, 0.91, 0.64, 0.55]
    assert [row[:3] for row in rows] == [
        (0, 3, 3), (1, 3, 3), (2, 3, 3), (3, 3, 8), (4, 7, 7), (5, 9, 4),
    ]  # fmt: skip
    assert [row.confidence for row in rows] == pytest.approx(confidences, rel=1e-6)


def test_classify_gives_each_image_the_networks_output(network: Network) -> None:
    images, _ = tiny.digits(50, seed=3)
    inputs = torch.from_numpy(network.requires_grad_(False).images.normalise(images))
    batches = torch.cat([network(inputs[start : start + 7]) for start in range(0, 50, 7)])
    for workers in (1, 2, 4):
        with numerics.pool(workers) as pool:
            seen = scoring.classify(network, images, batch_size=7, pool=pool)
        np.testing.assert_array_equal(seen, batches.numpy())  # bit for bit


def test_outputs_that_are_not_finite_are_an_error_that_advises_a_lower_lr(
    network: Network,
) -> None:
    images, _ = tiny.digits(5, seed=3)
    network.requires_grad_(False).get_parameter("fc2.bias")[0] = float("inf")
    with numerics.pool(1) as pool, pytest.raises(UserError, match=r"not finite: lower train\.lr"):
        scoring.classify(network, images, batch_size=5, pool=pool)


def test_main_writes_metrics_with_sorted_keys_predictions_and_the_scores_of_each_epoch(
    evaluated: Path,
) -> None:
    text = (evaluated / "metrics/metrics.json").read_text()
    metrics = json.loads(text)
    assert text == json.dumps(metrics, indent=2, sort_keys=True) + "\n"
    assert metrics.keys() == {"test", "per_digit"}
    assert metrics["test"].keys() == {"accuracy", "loss"}
    assert metrics["per_digit"].keys() == set("0123456789")
    assert metrics["test"]["accuracy"] > 0.9  # the tiny network has learnt

    predictions = tables.read(evaluated / "metrics/predictions.csv", Prediction)
    _, labels = tiny.digits(tiny.TEST, seed=2)
    assert predictions["label"].tolist() == labels.tolist()
    right = predictions["label"] == predictions["predicted"]
    assert right.mean() == metrics["test"]["accuracy"]

    scores = tables.read(evaluated / "metrics/epochs.csv", EpochScores)
    assert scores["epoch"].tolist() == [1, 2]
    assert scores["loss"][1] < scores["loss"][0]
    assert scores.iloc[-1][["loss", "accuracy"]].to_dict() == metrics["test"]
    assert scores[["validation_loss", "validation_accuracy"]].isna().all(axis=None)


def test_main_scores_the_held_out_images_too(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runner.write_params(
        workspace, train={"epochs": 2, "batch_size": 20, "lr": 0.01, "validation_size": 100}
    )
    runner.run(workspace, "train")
    runner.run(workspace, "evaluate")
    metrics = json.loads((workspace / "metrics/metrics.json").read_text())
    scores = tables.read(workspace / "metrics/epochs.csv", EpochScores)
    last = scores.iloc[-1][["validation_accuracy", "validation_loss"]]
    assert list(metrics["validation"].values()) == last.tolist()
    correct = metrics["validation"]["accuracy"] * 100
    assert correct == pytest.approx(round(correct))
    output = capsys.readouterr().out
    assert "Training on 500 images" in output
    assert "on the 100 validation images: " in output


def test_epochs_are_in_the_order_of_their_numbers(copied: Path) -> None:
    checkpoints = copied / "models/checkpoints"
    for old, new in (("01", "100"), ("02", "99")):
        (checkpoints / f"epoch-{old}.safetensors").rename(checkpoints / f"epoch-{new}.safetensors")
    runner.run(copied, "evaluate")
    scores = tables.read(copied / "metrics/epochs.csv", EpochScores)
    assert scores["epoch"].tolist() == [99, 100]


def test_final_weights_that_are_not_the_last_epochs_are_scored_themselves(copied: Path) -> None:
    shutil.copy(
        copied / "models/checkpoints/epoch-01.safetensors", copied / "models/model.safetensors"
    )
    runner.run(copied, "evaluate")
    first, last = tables.read(copied / "metrics/epochs.csv", EpochScores)["loss"]
    assert first != last
    assert json.loads((copied / "metrics/metrics.json").read_text())["test"]["loss"] == first
