"""What tools.compare says of two networks and of two recipes, with counts made by hand."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.common.errors import UserError
from stages.common.tables import EpochScores, Prediction, count_confusions
from tests.support.runner import ROOT
from tools.compare import networks, recipes, report
from tools.compare.networks import Confusion, top_confusions
from tools.compare.recipes import RecipeRuns, SeedRun, Seeds, compare_revisions
from tools.compare.runs import Recipe, Run
from tools.dvc_files import Pipeline
from tools.git import Revision

LABELS = [0] * 8 + [1] * 8 + [9] * 4
SIX_WRONG = [1] * 6 + LABELS[6:]  # images 0 to 5
FIVE_WRONG = [0, *SIX_WRONG[1:]]  # images 1 to 5


def recipe(code: str = "f2f2", lr: int = 1) -> Recipe:
    return Recipe({"lr": lr}, {"stages/train.py": code}, {"train": "python -m stages.train"})


def made_run(predicted: list[int], name: str = "base", **changed: Any) -> Run:  # noqa: ANN401
    labels, confidence = changed.pop("labels", LABELS), changed.pop("confidence", 0.9)
    pairs = enumerate(zip(labels, predicted, strict=True))
    accuracy = float(np.mean(np.equal(labels, predicted)))
    values: dict[str, Any] = {
        "revision": Revision(name, None),
        "pipeline": Pipeline.parse((ROOT / "dvc.yaml").read_bytes()),
        "params": {"train.lr": 0.001, "train.seed": 42},
        "metrics": {"per_digit.0": accuracy, "test.accuracy": accuracy, "test.loss": 0.5},
        "predictions": pd.DataFrame([Prediction(i, *pair, confidence) for i, pair in pairs]),
        "epochs": pd.DataFrame([EpochScores(1, 0.5, accuracy, None, None)]),
        "digests": {"data/MNIST/raw": "d0d0d0d0d0", "models/model.safetensors": "e1e1e1e1e1"},
        "code": {"stages/train.py": "f2f2"},
        "recipe": recipe(),
        "requirements": {"scipy": "==1.17.1"},
        "stale": [],
    }
    return Run(**values | changed)


def markdown(base: Run, head: Run, seeds: Seeds | None = None) -> str:
    return report.markdown(networks.compare(base, head), recipes.look_up(base, head, seeds))


def expected(name: str) -> str:
    """The text of a report. Where it is to change, so is the file: read the difference first."""
    return (Path(__file__).parent / "expected" / name).read_text(encoding="utf-8").rstrip("\n")


@pytest.mark.parametrize(
    ("base", "head", "verdict", "counts"),
    [
        (SIX_WRONG, LABELS, "better", "This network is better: 70.00 % → 100.00 %, 6 test images"),
        (LABELS, SIX_WRONG, "worse", "This network is worse: 100.00 % → 70.00 %, 0 test images"),
        (FIVE_WRONG, LABELS, "no evidence", "No evidence that these networks differ: 75.00 % →"),
        (SIX_WRONG, [2, *SIX_WRONG[1:]], "no evidence", "No evidence that these networks differ"),
        (SIX_WRONG, SIX_WRONG, "same predictions", "Same predictions: 70.00 % → 70.00 %, each of"),
    ],
)
def test_the_verdict(base: list[int], head: list[int], verdict: str, counts: str) -> None:
    comparison = networks.compare(made_run(base), made_run(head))
    assert comparison.verdict == verdict
    assert report.sentence(comparison).startswith(counts)
    assert comparison.wrong_otherwise == (head[0] == 2)  # neither fixed nor broken


def test_the_same_digits_may_have_another_confidence() -> None:
    for confidence, end in ((0.9, "the same confidence."), (0.8, "another confidence.")):
        sides = made_run(LABELS), made_run(LABELS, confidence=confidence)
        assert report.sentence(networks.compare(*sides)).endswith(f"the same digit, with {end}")


def test_the_five_confusions_that_changed_most_come_first_and_ties_by_their_digits() -> None:
    labels = [7, 7, 7, 2, 2, 2, 5, 4, 8, 8]
    before, after = [1, 1, 7, 3, 2, 2, 5, 9, 8, 8], [7, 7, 7, 2, 4, 3, 6, 9, 0, 0]
    tables = (pd.DataFrame({"label": labels, "predicted": digits}) for digits in (before, after))
    grew, shrank = top_confusions(*(count_confusions(table, 10) for table in tables))
    # 2 for 3 and 4 for 9 are as before.
    assert grew == [Confusion(8, 0, 0, 2), Confusion(2, 4, 0, 1), Confusion(5, 6, 0, 1)]
    assert shrank == [Confusion(7, 1, 2, 0)]
    nothing, taken_for_zero = np.zeros((2, 10, 10), np.int64)
    taken_for_zero[1:, 0] = 1  # nine confusions
    assert [len(side) for side in top_confusions(nothing, taken_for_zero)] == [5, 0]


@pytest.mark.parametrize("labels", [[*LABELS[:-1], 3], LABELS[:-1]])
def test_other_test_images_cannot_be_compared(labels: list[int]) -> None:
    with pytest.raises(UserError, match=r"^not scored on the same test images: the labels of base"):
        networks.compare(made_run(LABELS), made_run(labels, labels=labels))


def test_the_whole_report() -> None:
    base = made_run(
        FIVE_WRONG,
        revision=Revision("main", "a" * 40),
        confidence=0.8,
        cost="epochs 5",
        metrics={"test.accuracy": 0.75, "test.loss": 0.5, "test.old": 1.0, "per_digit.0": 0.375},
    )
    head = made_run(
        [*LABELS[:8], 8, *LABELS[9:]],
        revision=Revision("b`ad|name", "b" * 40),
        params={
            "train.lr": 0.01,
            "train.note": "a`b|c <script> @you",
            "train.tag": "",
            "download.mirrors": ["x", "y"],
        },
        metrics={"test.accuracy": 0.95, "test.loss": 0.25, "per_digit.0": 1.0},
        digests={"data/MNIST/raw": "abcdefabcdef"},
        code={"stages/train.py": "0123", "stages/new.py": "4567"},
        recipe=recipe("0123"),
        requirements={"scipy": "==1.17.2", "new": "==1"},
        stale=["stages/plot.py", "train.lr"],
        cost="epochs 4",
    )
    assert markdown(base, head) == expected("compare.md")


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.25132, "p = 0.25"),
        (0.04996, "p = 0.04996"),  # "0.05" would contradict "better"
        (0.05004, "p = 0.05"),
        (0, "p < 1e-300"),
    ],
)
def test_a_p_value_is_written_on_the_right_side_of_five_percent(p: float, text: str) -> None:
    assert report.p_equals(p) == text


def seeds(name: str, accuracies: list[float], lr: int = 1) -> list[Run]:
    return [
        made_run(
            LABELS,
            revision=Revision(f"{name}{seed}", str(seed) * 40),
            params={"train.seed": seed},
            recipe=recipe(lr=lr),
            metrics={"per_digit.0": 0.5, "per_digit.9": accuracy, "test.accuracy": accuracy},
        )
        for seed, accuracy in enumerate(accuracies)
    ]


def test_recipes_are_compared_by_their_means() -> None:
    base, head = seeds("base", [0.5, 0.52, 0.54]), seeds("head", [0.7, 0.8, 0.9], lr=2)
    comparison = compare_revisions(base, head)
    assert comparison.verdict == "better"
    assert report.markdown(comparison) == expected("compare_seeds.md")
    assert compare_revisions(base[::-1], head).metrics == comparison.metrics  # in any order
    assert compare_revisions(head, base).verdict == "worse"
    assert compare_revisions(base, base).verdict == "no evidence"


A, B = seeds("a", [0.5, 0.6, 0.7]), seeds("b", [0.5, 0.6, 0.7], lr=2)


@pytest.mark.parametrize(
    ("base", "head", "fault"),
    [
        (A, B[1:], "BASE has train.seed [0, 1, 2], HEAD has [1, 2]; "),
        (A[:2], B[:2], "BASE has train.seed [0, 1], HEAD has [0, 1]; both need the same, 3 or"),
        (A[:1] * 3, B[:1] * 3, "BASE has train.seed [0, 0, 0], HEAD has [0, 0, 0]; "),
        ([A[0], B[1]], B, "the runs of BASE must differ in train.seed alone, but a0 (0000000)"),
        ([A[0], made_run(LABELS, "x", params={})], B, "x has no train.seed"),
        ([A[0], made_run(SIX_WRONG, labels=SIX_WRONG)], B, "not scored on the same test images"),
    ],
)
def test_runs_that_cannot_be_compared_by_seeds(
    base: list[Run], head: list[Run], fault: str
) -> None:
    with pytest.raises(UserError) as error:
        compare_revisions(base, head)
    assert str(error.value).startswith(fault)


def of_recipe(accuracies: list[float], lr: int = 1) -> RecipeRuns:
    return recipes.runs_of_recipe("BASE", seeds("run", accuracies, lr))


MAIN = made_run(LABELS, revision=Revision("main", "a" * 40))
WORKSPACE = made_run(SIX_WRONG, "workspace", recipe=recipe(lr=2))


def test_the_report_says_how_many_seeds_the_change_takes() -> None:
    """Changes of 2, 1 and 0 points: with 2 degrees of freedom, 5.65 standard errors of 1 / √3."""
    base = of_recipe([0.5, 0.6, 0.7])
    text = markdown(
        MAIN,
        WORKSPACE,
        Seeds({"test.accuracy": 10_000}, base, of_recipe([0.52, 0.61, 0.7], lr=2)),
    )
    assert text.index("these recipes differ") < text.index("This network is worse")
    assert "± 1.00 points: one of 3.26 points or more is found with a power of 80 %.\n" in text
    assert "- To find one of +1.00 points with a power of 80 % takes 10 seeds.\n" in text
    text = markdown(
        MAIN,
        WORKSPACE,
        Seeds({"test.accuracy": 10_000}, base, of_recipe([0.52, 0.6, 0.681], lr=2)),
    )
    assert "takes more than 1,000 seeds." in text
    text = markdown(
        MAIN,
        WORKSPACE,
        Seeds({"test.accuracy": 10_000}, base, of_recipe([0.7, 0.6, 0.5], lr=2)),
    )
    assert "To find one of" not in text


PINS = [f"download.sha256.t10k-{kind}-idx{n}-ubyte" for kind, n in (("images", 3), ("labels", 1))]


@pytest.mark.parametrize("pin", PINS)
def test_other_test_images_with_the_same_labels_cannot_be_compared(pin: str) -> None:
    base, head = (made_run(LABELS, name, params={pin: f"of {name}"}) for name in ("a", "b"))
    fault = f"not scored on the same test images: {pin} of a is of a, of b of b"
    with pytest.raises(UserError, match=fault):
        networks.compare(base, head)
    with pytest.raises(UserError, match=fault):
        compare_revisions([base], [head])


def test_no_test_set_is_too_small_for_a_change_of_nothing() -> None:
    """One image fixed, another broken."""
    sides = [[9, *LABELS[1:]], [*LABELS[:-1], 0]]
    sentence = report.sentence(networks.compare(*map(made_run, sides)))
    assert "1 test images fixed, 1 broken" in sentence
    assert "too small" not in sentence


def test_a_margin_asks_whether_the_loss_is_less() -> None:
    """Losses of 0, 1 and 2 points are 1 ± 1: a loss of less than 5 is 4 √3 errors away."""
    base, head = of_recipe([0.5, 0.6, 0.7]), of_recipe([0.5, 0.59, 0.68], lr=2)
    seeds = Seeds({"test.accuracy": 100}, base, head)
    for margin, holds, needed, end in (
        (0.05, True, 3, "Its loss is less than 5 points (one-sided paired t-test p = 0.01)."),
        (0.01, False, 8, "Not shown that its loss is less than 1 points (one-sided paired t-test"),
    ):
        comparison = recipes.compare(seeds, margin)
        assert comparison.not_worse
        assert (comparison.not_worse.holds, comparison.not_worse.seeds_needed) == (holds, needed)
        assert end in report.sentence(comparison)
        assert f"less than {100 * margin:g} points are lost takes {needed} seeds." in (
            report.markdown(comparison)
        )
    assert recipes.compare(seeds).not_worse is None


IMAGES = {"test.accuracy": 20, "per_digit.0": 8, "per_digit.1": 12}


def file_of_seeds(**changed: Any) -> Seeds:  # noqa: ANN401
    """Three seeds a side. What is changed is changed in seed 1 of head."""
    sides = []
    for lr in (1, 2):
        runs = []
        for seed in range(3):
            right = {"per_digit.0": 8 - seed, "per_digit.1": 9 + lr}
            right["test.accuracy"] = sum(right.values())
            metrics = {name: round(n / IMAGES[name], 6) for name, n in right.items()}
            runs.append(SeedRun(seed, metrics, f"{lr}{seed}"))
        sides.append(RecipeRuns(recipe(lr=lr), runs))
    sides[1].runs[1] = replace(sides[1].runs[1], **changed)
    return Seeds(IMAGES, *sides)


def metrics_with(name: str, value: float) -> dict[str, Any]:
    return {"metrics": file_of_seeds().head.runs[1].metrics | {name: value}}


def test_the_file_of_seeds_is_read_as_it_was_written() -> None:
    written = file_of_seeds(**metrics_with("test.loss", 0.5))
    assert recipes.parse(recipes.encode(written)) == written


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (
            {"seed": 4},
            r"BASE has train.seed \[0, 1, 2\], HEAD has \[0, 2, 4\]; both need the same, 3",
        ),
        (
            metrics_with("test.accuracy", 7.3),
            "head, train.seed 1: test.accuracy is 7.3, which is no count of 20",
        ),
        (metrics_with("test.accuracy", 1e308), "which is no count of 20 images"),
        (metrics_with("test.accuracy", -0.05), "which is no count of 20 images"),
        (
            metrics_with("test.accuracy", 0.91),
            "test.accuracy is 0.91, which is no count of 20 images",
        ),
        (metrics_with("test.accuracy", 0.95), "head, train.seed 1: the digits do not add up to 19"),
        (metrics_with("test.loss", float("inf")), "finite"),
        ({"predictions": "11"}, "head, train.seed 1: another run has the same predictions, other"),
    ],
)
def test_a_file_of_seeds_that_contradicts_itself_is_refused(
    changed: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        recipes.parse(json.dumps(asdict(file_of_seeds(**changed))).encode())


def test_a_file_of_seeds_with_other_seeds_or_too_few_is_refused() -> None:
    for seeds, reason in ((range(1, 4), "base has train.seed 1, not 0 to 2"), (range(2), "3 or")):
        right = {"test.accuracy": 1.0, "per_digit.0": 1.0, "per_digit.1": 1.0}
        side = RecipeRuns(recipe(), [SeedRun(seed, right, None) for seed in seeds])
        with pytest.raises(ValueError, match=reason):
            recipes.parse(recipes.encode(Seeds(IMAGES, side, side)))
    side = RecipeRuns(recipe(), [SeedRun(seed, {}, None) for seed in range(3)])
    with pytest.raises(ValueError, match=r"a run has no test\.accuracy"):
        recipes.parse(recipes.encode(Seeds(IMAGES, side, side)))
