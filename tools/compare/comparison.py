"""What changed from one side to the other, as plain values. No files, no text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from stages.common.errors import UserError
from stages.common.intervals import Rate, rate
from stages.common.mnist import CLASSES
from stages.common.tables import count_confusions
from tools.compare.evidence import ACCURACY, PER_DIGIT, Evidence, differing
from tools.dvc_files import DATA, MODEL, Output
from tools.git import Revision
from tools.statistics import ALPHA, holm, mcnemar

Verdict = Literal["better", "worse", "no evidence", "same predictions"]
Digits = npt.NDArray[np.int64]  # (n,), 0 to 9

MAX_SHOWN = 5  # confusions shown of those that grew, and of those that shrank


@dataclass(frozen=True)
class Change:
    """A value on either side; None where there is none."""

    base: Any
    head: Any


@dataclass(frozen=True)
class Digests(Change):
    """The MD5 of an output on either side."""

    path: str  # in head


@dataclass(frozen=True)
class Paired:
    """How both sides classify the same images."""

    n: int
    base: Rate
    head: Rate
    change: float  # percentage points
    fixed: int  # wrong in base, right in head
    broken: int  # right in base, wrong in head
    p: float  # McNemar's
    p_corrected: float  # for the number of digits


@dataclass(frozen=True)
class Confusion:
    """Images of one digit taken for another."""

    label: int
    predicted: int
    base: int  # images
    head: int


@dataclass(frozen=True)
class Comparison:
    """Two revisions."""

    base: Revision
    head: Revision
    verdict: Verdict
    overall: Paired
    digits: dict[str, Paired]
    wrong_otherwise: int  # images: wrong on both sides, as different digits
    same_confidence: bool
    params: dict[str, Change]
    metrics: dict[str, Change]  # those that are not accuracies, which `overall` and `digits` hold
    grew: list[Confusion]
    shrank: list[Confusion]
    data: Digests
    weights: Digests
    code: dict[str, Change]
    requirements: dict[str, Change]
    stale: dict[str, list[str]]  # by side: what is not as dvc.lock says


def compare(base: Evidence, head: Evidence) -> Comparison:
    """All that changed from `base` to `head`.

    Raises:
        UserError: they were not scored on the same test images.
    """
    check_labels([base, head])
    labels = base.predictions["label"].to_numpy()
    before, after = (side.predictions["predicted"].to_numpy() for side in (base, head))
    overall = paired(labels, before, after)
    grew, shrank = top_confusions(*(count_confusions(side.predictions) for side in (base, head)))
    return Comparison(
        base=base.revision,
        head=head.revision,
        verdict=judge(overall.change, overall.p, same=np.array_equal(before, after)),
        overall=overall,
        digits=per_digit(labels, before, after),
        wrong_otherwise=int(((before != labels) & (after != labels) & (before != after)).sum()),
        same_confidence=base.predictions["confidence"].equals(head.predictions["confidence"]),
        params=changes(base.params, head.params),
        metrics=other_metrics(base.metrics, head.metrics),
        grew=grew,
        shrank=shrank,
        data=output_digests(base, head, DATA),
        weights=output_digests(base, head, MODEL),
        code=changes(base.code, head.code),
        requirements=changes(base.requirements, head.requirements),
        stale={"base": base.stale, "head": head.stale},
    )


def judge(change: float, p: float, *, same: bool) -> Verdict:
    """The verdict on a change of accuracy."""
    if same:
        return "same predictions"
    if p >= ALPHA:
        return "no evidence"
    return "better" if change > 0 else "worse"


def paired(labels: Digits, base: Digits, head: Digits) -> Paired:
    """Both sides' predictions of the same n images, as a pair for each image."""
    before, after = base == labels, head == labels
    fixed, broken = int((~before & after).sum()), int((before & ~after).sum())
    n, p = len(labels), mcnemar(fixed, broken)
    change = 100 * (fixed - broken) / n
    rates = rate(int(before.sum()), n), rate(int(after.sum()), n)
    return Paired(n, *rates, change, fixed, broken, p, p)


def per_digit(labels: Digits, base: Digits, head: Digits) -> dict[str, Paired]:
    """The same for the images of each digit, with p-values corrected for their number."""
    rows = {
        str(digit): paired(*(array[labels == digit] for array in (labels, base, head)))
        for digit in np.unique(labels)
    }
    corrected = holm([row.p for row in rows.values()])
    return {
        digit: replace(row, p_corrected=p)
        for (digit, row), p in zip(rows.items(), corrected, strict=True)
    }


def top_confusions(
    base: npt.NDArray[np.int64], head: npt.NDArray[np.int64]
) -> tuple[list[Confusion], list[Confusion]]:
    """The confusions that grew most and those that shrank most, the largest change first, from
    the counts of images by label and prediction, (10, 10)."""
    every = [
        Confusion(*pair, int(base[pair]), int(head[pair]))
        for pair in permutations(range(CLASSES), 2)
    ]
    grew = sorted(every, key=lambda confusion: confusion.base - confusion.head)[:MAX_SHOWN]
    shrank = sorted(every, key=lambda confusion: confusion.head - confusion.base)[:MAX_SHOWN]
    return (
        [confusion for confusion in grew if confusion.head > confusion.base],
        [confusion for confusion in shrank if confusion.head < confusion.base],
    )


def changes(base: Mapping[str, Any], head: Mapping[str, Any]) -> dict[str, Change]:
    """The names whose values differ, in the order of the files."""
    return {name: Change(base.get(name), head.get(name)) for name in differing(base, head)}


def output_digests(base: Evidence, head: Evidence, output: Output) -> Digests:
    """The digests of an output of both sides."""
    return Digests(base.digest(output), head.digest(output), head.pipeline.path(output))


def other_metrics(base: Mapping[str, Any], head: Mapping[str, Any]) -> dict[str, Change]:
    """Those that do not follow from the predictions."""
    return {
        name: Change(base.get(name), head.get(name))
        for name in {**base, **head}
        if name != ACCURACY and not name.startswith(PER_DIGIT)
    }


def check_labels(runs: Sequence[Evidence]) -> None:
    """All must have the same test labels, or their predictions are of different images.

    Raises:
        UserError: they have not.
    """
    first, *others = runs
    labels = first.predictions["label"]
    for other in others:
        theirs = other.predictions["label"]
        if not np.array_equal(labels, theirs):
            raise UserError(
                f"not scored on the same test images: the labels of {first.revision}"
                f" ({len(labels):,}) and of {other.revision} ({len(theirs):,}) differ"
            )
