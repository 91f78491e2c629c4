"""Compare two networks: what changed from one revision's run to the other's, as plain values.

Both networks classify the same test images. So an image is a pair, and the test is paired.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from stages.common.intervals import Rate, rate
from stages.common.tables import count_classes, count_confusions
from tools.compare.runs import ACCURACY, Change, Run, changes, check_labels, digit_metrics
from tools.dvc_files import DATA, MODEL, Output
from tools.git import Revision
from tools.statistics import Verdict, holm, judge, mcnemar

Digits = npt.NDArray[np.int64]  # (n,), 0 to 9

MAX_SHOWN = 5  # confusions shown of those that grew, and of those that shrank


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
class NetworkComparison:
    """The networks of two revisions."""

    base: Revision
    head: Revision
    verdict: Verdict | Literal["same predictions"]
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
    cost: Change
    code: dict[str, Change]
    requirements: dict[str, Change]
    stale: dict[str, list[str]]  # by side: what is not as dvc.lock says
    parents: list[str]  # of head: two or more if it is a merge


def compare(base: Run, head: Run) -> NetworkComparison:
    """All that changed from `base` to `head`.

    Raises:
        UserError: they were not scored on the same test images.
    """
    check_labels([base, head])
    labels = base.predictions["label"].to_numpy()
    before, after = (side.predictions["predicted"].to_numpy() for side in (base, head))
    overall = paired(labels, before, after)
    same = np.array_equal(before, after)
    classes = count_classes(base.predictions, head.predictions)
    counts = [count_confusions(side.predictions, classes) for side in (base, head)]
    grew, shrank = top_confusions(*counts)
    return NetworkComparison(
        base=base.revision,
        head=head.revision,
        verdict="same predictions" if same else judge(overall.change, overall.p),
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
        cost=Change(base.cost, head.cost),
        code=changes(base.code, head.code),
        requirements=changes(base.requirements, head.requirements),
        stale={"base": base.stale, "head": head.stale},
        parents=head.parents,
    )


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
    digits = np.unique(labels)
    rows = [paired(*(side[labels == digit] for side in (labels, base, head))) for digit in digits]
    corrected = holm([row.p for row in rows])
    return {
        str(digit): replace(row, p_corrected=p)
        for digit, row, p in zip(digits, rows, corrected, strict=True)
    }


def top_confusions(
    base: npt.NDArray[np.int64], head: npt.NDArray[np.int64]
) -> tuple[list[Confusion], list[Confusion]]:
    """The confusions that grew most and those that shrank most, the largest change first, from
    the counts of images by label and prediction, (classes, classes)."""
    pairs = permutations(range(len(base)), 2)
    every = [Confusion(*pair, int(base[pair]), int(head[pair])) for pair in pairs]
    every.sort(key=lambda confusion: -abs(confusion.head - confusion.base))
    return (
        [confusion for confusion in every if confusion.head > confusion.base][:MAX_SHOWN],
        [confusion for confusion in every if confusion.head < confusion.base][:MAX_SHOWN],
    )


def output_digests(base: Run, head: Run, output: Output) -> Digests:
    """The digests of an output of both sides."""
    return Digests(base.digest(output), head.digest(output), head.path(output))


def other_metrics(base: Mapping[str, Any], head: Mapping[str, Any]) -> dict[str, Change]:
    """Those that do not follow from the predictions."""
    names = {**base, **head}
    follow = {ACCURACY, *digit_metrics(names)}
    return {name: Change(base.get(name), head.get(name)) for name in names if name not in follow}
