"""Do the files of a run agree with each other? Found out from these files alone.

They must be those that dvc.lock records. The metrics must follow from the predictions. The last
epoch must have the metrics of the final network. The labels must be those whose SHA-256
params.yaml pins.
"""

import math
from collections.abc import Iterator

import numpy as np

from stages.common import mnist
from stages.common.files import sha256
from tools.compare.runs import ACCURACY, LOSS, PER_DIGIT, Run, digit_metrics
from tools.dvc_files import EPOCHS, LOCK, METRICS, PREDICTIONS

ROUNDING = 0.5e-6  # half of the last of the six decimals that the files have
LABELS = mnist.FILES["test"][1]
LAST_EPOCH = {  # the metrics that are in epochs.csv, too, and their columns
    ACCURACY: "accuracy",
    LOSS: "loss",
    "validation.accuracy": "validation_accuracy",
    "validation.loss": "validation_loss",
}


def contradictions(run: Run) -> list[str]:
    """A line for each place where the files say two things; none if all agree."""
    return [*_files(run), *_accuracies(run), *_loss(run), *_epochs(run), *_labels(run)]


def _files(run: Run) -> Iterator[str]:
    """The files of metrics and plots against their digests."""
    for path in run.unrecorded:
        yield f"{path}: not the file that {LOCK} records as the result"


def _accuracies(run: Run) -> Iterator[str]:
    """The accuracy on all images, and of each digit, against a count of the predictions."""
    labels = run.predictions["label"]
    right = labels == run.predictions["predicted"]
    counts = {f"{PER_DIGIT}{digit}": rows for digit, rows in right.groupby(labels)}
    for name in dict.fromkeys([ACCURACY, *counts, *digit_metrics(run.metrics)]):
        rows = right if name == ACCURACY else counts.get(name, right[:0])
        counted = round(float(rows.mean()), 6) if len(rows) else None
        if run.metrics.get(name) != counted:
            gives = f"gives {_text(counted)} ({rows.sum():,} of {len(rows):,})"
            yield f"{_stated(run, name)} {run.path(PREDICTIONS)} {gives}"


def _loss(run: Run) -> Iterator[str]:
    """The loss against the least that the confidences allow. An image that is right adds
    -log(confidence). One that is wrong adds no less than -log(confidence), and no less than
    -log(1 - confidence), since the digit on its label was less probable."""
    table, path = run.predictions, run.path(PREDICTIONS)
    confidence = table["confidence"]
    low = 1 / mnist.CLASSES  # the most probable of ten digits
    for row, value in confidence[~confidence.between(low - ROUNDING, 1)].items():
        yield f"{path}: the confidence of image {row} is {value:g}, not {low:g} to 1"
        return  # one is enough
    right = table["label"] == table["predicted"]
    label = confidence.where(right, np.minimum(confidence, 1 - confidence))
    least = float(-np.log(np.minimum(label + ROUNDING, 1)).mean())
    if run.metrics.get(LOSS, -math.inf) < least - ROUNDING:
        yield f"{_stated(run, LOSS)} the confidences in {path} give at least {least:.6f}"


def _epochs(run: Run) -> Iterator[str]:
    """A row for each epoch. The last one has the metrics of the final network."""
    path, expected = run.path(EPOCHS), run.params.get("train.epochs")
    epochs = run.epochs["epoch"].tolist()
    if len(epochs) != expected or epochs != [*range(1, len(epochs) + 1)]:
        found = ", ".join(map(str, epochs))
        yield f"{path}: has the epochs {found}, but train.epochs is {expected}"
    last = run.epochs.iloc[-1]
    for name, column in LAST_EPOCH.items():
        value = None if math.isnan(last[column]) else float(last[column])
        if run.metrics.get(name) != value:
            yield f"{_stated(run, name)} the last row of {path} gives {_text(value)}"


def _labels(run: Run) -> Iterator[str]:
    """The labels against the digest of their file, which they make up in full."""
    key = f"download.sha256.{LABELS}"
    pinned = run.params.get(key)
    found = sha256(mnist.encode_idx(run.predictions["label"].to_numpy(np.uint8)))
    if found != pinned:
        labels = f"{run.path(PREDICTIONS)}: the labels as {LABELS}"
        yield f"{labels} have the SHA-256 {found}, but {key} is {_text(pinned)}"


def _stated(run: Run, name: str) -> str:
    return f"{run.path(METRICS)}: {name} is {_text(run.metrics.get(name))}, but"


def _text(value: object) -> str:
    return "none" if value is None else str(value)
