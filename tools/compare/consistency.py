"""Do the files of a run's evidence agree with each other? Found out from these files alone."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from stages.common import mnist
from stages.common.files import sha256
from tools.compare.evidence import ACCURACY, LOSS, PER_DIGIT, Evidence
from tools.dvc_files import EPOCHS, METRICS, PREDICTIONS
from tools.markdown import code

ROUNDING = 0.5e-6  # half of the last of the six decimals that the files have
LABELS = mnist.FILES["test"][1]


def contradictions(evidence: Evidence) -> list[str]:
    """A line for each place where the files say two things; none if all agree.

    The metrics must follow from the predictions. The last epoch must have the metrics of the final
    network. The labels must be those whose SHA-256 params.yaml pins.
    """
    checks = (_accuracies, _loss, _epochs, _labels)
    return [line for check in checks for line in check(evidence)]


def warnings(conflicts: Mapping[str, Sequence[str]]) -> list[str]:
    """The contradictions of each revision, by its name, as a paragraph of Markdown each."""
    return [
        f"**Do not believe what follows: the files of {code(name)} contradict each other.** Run"
        " `dvc repro --force` there, and compare again.\n\n"
        + "\n".join(f"- {code(line)}" for line in lines)
        for name, lines in conflicts.items()
        if lines
    ]


def agreement(conflicts: Mapping[str, Sequence[str]]) -> list[str]:
    """The paragraph that says that there are none."""
    if any(conflicts.values()):
        return []
    return [
        "The files of each revision agree with each other: metrics, predictions, the scores of the"
        " last epoch, and the test labels with the SHA-256 that `params.yaml` pins."
    ]


def _accuracies(evidence: Evidence) -> Iterator[str]:
    """The accuracy on all images, and of each digit, against a count of the predictions."""
    table = evidence.predictions
    right = table["label"] == table["predicted"]
    groups = {ACCURACY: right} | {
        f"{PER_DIGIT}{digit}": rows for digit, rows in right.groupby(table["label"])
    }
    stated = {
        name: value
        for name, value in evidence.metrics.items()
        if name == ACCURACY or name.startswith(PER_DIGIT)
    }
    for name in groups | stated:
        rows = groups.get(name, right[:0])
        counted = round(float(rows.mean()), 6) if len(rows) else None
        if stated.get(name) != counted:
            yield (
                f"{_conflict(evidence, name)} {evidence.pipeline.path(PREDICTIONS)} gives"
                f" {_number(counted)} ({rows.sum():,} of {len(rows):,})"
            )


def _loss(evidence: Evidence) -> Iterator[str]:
    """The loss against the least that the confidences allow. An image that is right adds
    -log(confidence). One that is wrong adds no less than -log(confidence), and no less than
    -log(1 - confidence), since the digit on its label was less probable."""
    table, path = evidence.predictions, evidence.pipeline.path(PREDICTIONS)
    confidence = table["confidence"].to_numpy()
    low = 1 / mnist.CLASSES  # the most probable of ten digits
    impossible = np.flatnonzero((confidence < low - ROUNDING) | (confidence > 1))
    if len(impossible):
        row = impossible[0]
        yield f"{path}: the confidence of image {row} is {confidence[row]:g}, not {low:g} to 1"
        return
    right = (table["label"] == table["predicted"]).to_numpy()
    label = np.where(right, confidence, np.minimum(confidence, 1 - confidence))
    least = float(-np.log(np.minimum(label + ROUNDING, 1)).mean())
    if evidence.metrics.get(LOSS, -math.inf) < least - ROUNDING:
        yield f"{_conflict(evidence, LOSS)} the confidences in {path} give at least {least:.6f}"


def _epochs(evidence: Evidence) -> Iterator[str]:
    """A row for each epoch. The last one has the metrics of the final network."""
    table, path = evidence.epochs, evidence.pipeline.path(EPOCHS)
    expected = evidence.params.get("train.epochs")
    if len(table) != expected or (table["epoch"] != table.index + 1).any():
        found = ", ".join(map(str, table["epoch"]))
        yield f"{path}: has the epochs {found}, but train.epochs is {expected}"
    last = table.iloc[-1]
    columns = {ACCURACY: "accuracy", LOSS: "loss"}
    columns |= {f"validation.{name}": f"validation_{name}" for name in ("accuracy", "loss")}
    for name, column in columns.items():
        value = None if math.isnan(last[column]) else float(last[column])
        if evidence.metrics.get(name) != value:
            yield f"{_conflict(evidence, name)} the last row of {path} gives {_number(value)}"


def _labels(evidence: Evidence) -> Iterator[str]:
    """The labels against the digest of their file, which they make up in full."""
    key = f"download.sha256.{LABELS}"
    pinned = evidence.params.get(key)
    found = sha256(mnist.encode_idx(evidence.predictions["label"].to_numpy(np.uint8)))
    if found != pinned:
        yield (
            f"{evidence.pipeline.path(PREDICTIONS)}: the labels as {LABELS} have the SHA-256"
            f" {found}, but {key} is {_number(pinned)}"
        )


def _conflict(evidence: Evidence, name: str) -> str:
    value = _number(evidence.metrics.get(name))
    return f"{evidence.pipeline.path(METRICS)}: {name} is {value}, but"


def _number(value: object) -> str:
    return "none" if value is None else str(value)
