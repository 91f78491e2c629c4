"""What two sets of predictions say, with counts made by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from stages.common.errors import UserError
from stages.common.tables import EpochScores, Prediction, count_confusions
from tests.support.runner import ROOT
from tools.compare import report
from tools.compare.comparison import Change, Confusion, compare, top_confusions
from tools.compare.evidence import Evidence, Recipe
from tools.compare.groups import Group, Run, compare_seeds
from tools.compare.seeds_file import Seeds, compare_recipes, encode, parse
from tools.dvc_files import Pipeline
from tools.git import Revision

LABELS = [0] * 8 + [1] * 8 + [9] * 4
SIX_WRONG = [1] * 6 + LABELS[6:]  # images 0 to 5
FIVE_WRONG = [0, *SIX_WRONG[1:]]  # images 1 to 5


def recipe(code: str = "f2f2", lr: int = 1) -> Recipe:
    return Recipe({"lr": lr}, {"stages/train.py": code}, {"train": "python -m stages.train"})


def evidence(predicted: list[int], name: str = "base", **changed: Any) -> Evidence:  # noqa: ANN401
    labels = changed.pop("labels", LABELS)
    confidence = changed.pop("confidence", 0.9)
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
    return Evidence(**values | changed)


def markdown(base: Evidence, head: Evidence, seeds: Seeds | None = None) -> str:
    return report.markdown(compare(base, head), compare_recipes(base, head, seeds))


@pytest.mark.parametrize(
    ("base", "head", "verdict", "sentence"),
    [
        (
            SIX_WRONG, LABELS, "better",
            "This network is better: 70.00 % → 100.00 %, 6 test images fixed, 0 broken"
            " (exact McNemar p = 0.031, n = 20).",
        ),
        (
            LABELS, SIX_WRONG, "worse",
            "This network is worse: 100.00 % → 70.00 %, 0 test images fixed, 6 broken"
            " (exact McNemar p = 0.031, n = 20).",
        ),
        (
            FIVE_WRONG, LABELS, "no evidence",
            "No evidence that these networks differ: 75.00 % → 100.00 %, 5 test images fixed,"
            " 0 broken (exact McNemar p = 0.062, n = 20);"
            " the test set is too small to show a change of this size.",
        ),
        (
            SIX_WRONG, [*SIX_WRONG[:-1], 4], "no evidence",  # a handful of flips: one
            "No evidence that these networks differ: 70.00 % → 65.00 %, 0 test images fixed,"
            " 1 broken (exact McNemar p = 1, n = 20);"
            " the test set is too small to show a change of this size.",
        ),
        (
            SIX_WRONG, SIX_WRONG, "same predictions",
            "Same predictions: 70.00 % → 70.00 %, each of the 20 test images is taken for the"
            " same digit, with the same confidence.",
        ),
    ],
)  # fmt: skip
def test_the_verdict(base: list[int], head: list[int], verdict: str, sentence: str) -> None:
    comparison = compare(evidence(base), evidence(head))
    assert comparison.verdict == verdict
    assert report.sentence(comparison) == sentence
    assert markdown(evidence(base), evidence(head)).startswith(f"**{sentence}**\n\n")


def test_the_same_digits_with_another_confidence_are_the_same_predictions() -> None:
    comparison = compare(evidence(LABELS), evidence(LABELS, confidence=0.8))
    assert comparison.verdict == "same predictions"
    assert report.sentence(comparison).endswith(" with another confidence.")


def test_another_mistake_about_the_same_image_is_neither_fixed_nor_broken() -> None:
    sides = evidence(SIX_WRONG), evidence([2, *SIX_WRONG[1:]])
    assert compare(*sides).verdict == "no evidence"
    assert "0 fixed, 0 broken, 1 still wrong but as another digit, 19 as before." in (
        markdown(*sides)
    )


def test_each_digit_is_a_test_of_its_own_corrected_for_their_number() -> None:
    head = [*LABELS[:8], 8, *LABELS[9:]]  # image 8, a one, is broken; six zeros are fixed
    rows = compare(evidence(SIX_WRONG), evidence(head)).digits
    assert list(rows) == ["0", "1", "9"]  # no other digit is among the labels
    assert [(row.n, row.base.correct, row.head.correct) for row in rows.values()] == [
        (8, 2, 8), (8, 8, 7), (4, 4, 4),
    ]  # fmt: skip
    assert [(row.fixed, row.broken) for row in rows.values()] == [(6, 0), (0, 1), (0, 0)]
    assert [row.change for row in rows.values()] == [75, -12.5, 0]
    assert [row.p for row in rows.values()] == pytest.approx([2 / 64, 1, 1])
    assert [row.p_corrected for row in rows.values()] == pytest.approx([3 * 2 / 64, 1, 1])


def counts(labels: list[int], predicted: list[int]) -> npt.NDArray[np.int64]:
    return count_confusions(pd.DataFrame({"label": labels, "predicted": predicted}))


def test_the_confusions_that_changed_most_come_first_and_ties_in_the_order_of_the_digits() -> None:
    labels = [7, 7, 7, 2, 2, 2, 5, 4]
    before, after = [1, 1, 7, 3, 2, 2, 5, 9], [7, 7, 7, 2, 4, 3, 6, 9]
    grew, shrank = top_confusions(counts(labels, before), counts(labels, after))
    assert grew == [Confusion(2, 4, 0, 1), Confusion(5, 6, 0, 1)]  # 2 for 3, 4 for 9: as before
    assert shrank == [Confusion(7, 1, 2, 0)]


def test_no_more_than_five_confusions_are_shown() -> None:
    labels = [0] * 9
    right, wrong = counts(labels, labels), counts(labels, [*range(1, 10)])
    assert [len(side) for side in top_confusions(right, wrong)] == [5, 0]
    assert [len(side) for side in top_confusions(wrong, right)] == [0, 5]


def test_the_whole_report() -> None:
    base = evidence(
        FIVE_WRONG,
        "main",
        revision=Revision("main", "a" * 40),
        confidence=0.8,
        params={"train.lr": 0.001, "train.seed": 42},
        metrics={"test.accuracy": 0.75, "test.loss": 0.5, "test.old": 1.0, "per_digit.0": 0.375},
    )
    head = evidence(
        [*LABELS[:8], 8, *LABELS[9:]],
        "b`ad|name",
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
    )
    assert markdown(base, head) == expected("compare.md")


def expected(name: str) -> str:
    """The text of a report. Where it is to change, so is the file: read the difference first."""
    return (Path(__file__).parent / "expected" / name).read_text(encoding="utf-8").rstrip("\n")


def test_nothing_changed_is_said_as_well() -> None:
    lines = markdown(evidence(LABELS), evidence(LABELS)).splitlines()
    for line in ("None.", "Grew most: none.", "- Code: the same", "- Requirements: the same"):
        assert line in lines
    assert not any(line.startswith("Note") for line in lines)


def test_a_table_fits_a_terminal() -> None:
    labels = [index % 10 for index in range(10_000)]
    text = markdown(evidence(labels, labels=labels), evidence([3] * 10_000, labels=labels))
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == (2 + 11) + (2 + 1) + (2 + 5)
    assert max(map(len, table)) <= 100


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (1, "p = 1"),
        (0.25132, "p = 0.25"),
        (4.9e-9, "p = 4.9e-9"),
        (0.04996, "p = 0.04996"),  # "0.05" would contradict "Better"
        (0.05004, "p = 0.05"),
        (0, "p < 1e-300"),
    ],
)
def test_a_p_value_is_written_on_the_right_side_of_five_percent(p: float, text: str) -> None:
    assert report.p_equals(p) == text


@pytest.mark.parametrize("labels", [[*LABELS[:-1], 3], LABELS[:-1]])
def test_other_test_images_cannot_be_compared(labels: list[int]) -> None:
    with pytest.raises(UserError, match=r"^not scored on the same test images: the labels of base"):
        compare(evidence(LABELS), evidence(labels, labels=labels))


def seeds(name: str, accuracies: list[float], lr: int = 1) -> list[Evidence]:
    return [
        evidence(
            LABELS,
            revision=Revision(f"{name}{seed}", str(seed) * 40),
            params={"train.seed": seed},
            recipe=recipe(lr=lr),
            metrics={"per_digit.0": 0.5, "per_digit.9": accuracy, "test.accuracy": accuracy},
        )
        for seed, accuracy in enumerate(accuracies)
    ]


def test_seeds_are_compared_by_their_means() -> None:
    base, head = seeds("base", [0.5, 0.52, 0.54]), seeds("head", [0.7, 0.8, 0.9], lr=2)
    comparison = compare_seeds(base, head)
    assert comparison.verdict == "better"
    assert comparison.params == {"lr": Change(1, 2)}
    row = comparison.metrics["test.accuracy"]
    assert row.base.n == row.head.n == 3
    assert (row.base.mean, row.base.deviation) == pytest.approx((0.52, 0.02))
    assert (row.change, row.deviation) == pytest.approx((0.28, 0.08))
    assert (row.head.mean, row.head.deviation) == pytest.approx((0.8, 0.1))
    assert report.sentence(comparison) == (
        "This recipe is better: mean accuracy 52.00 ± 2.00 % → 80.00 ± 10.00 %,"
        " +28.00 points (95 % interval +8.13 to +47.87, paired t-test p = 0.026, n = 3 seeds)."
    )
    assert report.markdown(comparison) == expected("compare_seeds.md")
    assert compare_seeds(head, base).verdict == "worse"
    assert compare_seeds(base, base).verdict == "no evidence"


@pytest.mark.parametrize(
    ("base", "fault"),
    [
        (seeds("a", [0.5]), "BASE names one run; give two or more"),
        (seeds("a", [0.5, 0.6])[:1] * 2, "two runs of BASE have train.seed 0; each needs its own"),
        (
            seeds("a", [0.5])[:1] + seeds("b", [0.5, 0.6], lr=2)[1:],
            "the runs of BASE must differ in train.seed alone, but a0 (0000000) and b1 (1111111)"
            " differ in lr",
        ),
        (
            [
                *seeds("a", [0.5]),
                evidence(LABELS, "b", recipe=recipe("0000"), params={"train.seed": 1}),
            ],
            "the runs of BASE must differ in train.seed alone, but a0 (0000000) and b differ"
            " in stages/train.py",
        ),
        (
            [*seeds("a", [0.5]), evidence(LABELS, "b", recipe=recipe(), params={})],
            "b has no train.seed",
        ),
    ],
)
def test_seeds_that_are_not_a_group(base: list[Evidence], fault: str) -> None:
    with pytest.raises(UserError) as error:
        compare_seeds(base, seeds("head", [0.5, 0.6]))
    assert str(error.value).startswith(f"--seeds: {fault}")


def test_groups_need_the_same_seeds() -> None:
    with pytest.raises(UserError, match=r"BASE has train.seed \[0, 1\], HEAD \[0, 1, 2\]; both"):
        compare_seeds(seeds("base", [0.5, 0.6]), seeds("head", [0.5, 0.6, 0.7]))


def test_the_order_of_the_runs_does_not_matter() -> None:
    base, head = seeds("base", [0.5, 0.6, 0.7]), seeds("head", [0.51, 0.62, 0.7])
    assert compare_seeds(base, head).metrics == compare_seeds(base[::-1], head).metrics


def group(accuracies: list[float], lr: int = 1) -> Group:
    runs = [
        Run(seed, {"per_digit.0": 0.5, "test.accuracy": accuracy}, "e3e3")
        for seed, accuracy in enumerate(accuracies)
    ]
    return Group(recipe(lr=lr), runs)


NETWORKS = (
    evidence(LABELS, "main", revision=Revision("main", "a" * 40), recipe=recipe()),
    evidence(SIX_WRONG, "workspace", recipe=recipe(lr=2)),
)
SEVERAL = Seeds(20, group([0.5, 0.52, 0.54]), group([0.7, 0.8, 0.9], lr=2))


def test_the_recipes_come_before_the_networks_where_the_file_is_about_them() -> None:
    lines = markdown(*NETWORKS, SEVERAL).splitlines()
    assert lines[0].startswith("**This recipe is better: mean accuracy 52.00 ± 2.00 % → 80.00")
    assert lines[2].startswith("**This network is worse: 100.00 % → 70.00 %")
    assert "| `test.accuracy` | 0.5200 ± 0.0200 | 0.8000 ± 0.1000 |" in "\n".join(lines)
    assert "| 2            | 54.00 % | 90.00 % | +36.00 |" in lines
    assert not any("make seeds BASE" in line for line in lines)


@pytest.mark.parametrize(
    ("base", "head", "said"),
    [
        (group([1, 1]), group([1, 1], lr=3), " Its head differs in `lr`."),
        (
            group([1, 1], lr=2),
            group([1, 1]),
            " Its base differs in `lr`. Its head differs in",
        ),
        (
            Group(recipe("0"), []),
            Group(recipe(lr=2), []),
            "Its base differs in `stages/train.py`.",
        ),
    ],
)
def test_a_file_about_other_recipes_is_named_and_not_used(
    base: Group, head: Group, said: str
) -> None:
    report = markdown(*NETWORKS, Seeds(20, base, head))
    assert report.startswith("**This network is worse")
    assert "`evidence/seeds.json` is of other recipes." in report
    assert said in report
    assert "`make seeds BASE=aaaaaaa` trains both" in report


def test_how_to_compare_the_recipes_is_said_where_they_differ() -> None:
    base, head = NETWORKS
    committed = evidence(SIX_WRONG, revision=Revision("$(date)", "b" * 40), recipe=recipe(lr=2))
    assert "better? `make seeds BASE=aaaaaaa` trains" in markdown(base, head)
    assert "better? `make seeds BASE=aaaaaaa HEAD=bbbbbbb` trains" in markdown(base, committed)
    for same in (markdown(base, base, SEVERAL), markdown(base, evidence(LABELS), SEVERAL)):
        assert "make seeds" not in same  # the predictions are the same: there is nothing to ask
    other_seed = evidence(SIX_WRONG, recipe=recipe())
    assert "Both sides have the same recipe." in markdown(base, other_seed, SEVERAL)


def test_the_file_holds_all_and_gives_the_same_report() -> None:
    content = encode(SEVERAL)
    assert encode(parse(content)) == content
    assert markdown(*NETWORKS, parse(content)) == markdown(*NETWORKS, SEVERAL)


@pytest.mark.parametrize(
    ("seeds", "reason"),
    [
        (Seeds(20, group([1]), group([1, 1])), "base needs two or more runs"),
        (Seeds(20, group([1, 1]), Group(recipe(), group([1]).runs * 2)), "head needs two or more"),
        (
            Seeds(20, Group(recipe(), [Run(seed, {}, "") for seed in (0, 1)]), group([1, 1])),
            "a run of base has no test.accuracy",
        ),
        (Seeds(20, group([1, 1]), group([1, 1, 1])), "both sides need the same seeds"),
        (Seeds(0, group([1, 1]), group([1, 1])), "greater than 0"),
    ],
)
def test_a_file_that_the_tool_does_not_write_is_refused(seeds: Seeds, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(encode(seeds))


def test_the_report_says_what_could_have_been_seen() -> None:
    six = markdown(*NETWORKS)
    assert (
        "What this test set can show, with 6 flips: a change of 30.00 or more has p < 0.05." in six
    )
    few = markdown(NETWORKS[0], evidence(FIVE_WRONG, recipe=recipe(lr=2)))
    assert "What this test set can show, with 5 flips: nothing. It takes 6 or more" in few
    seeds = Seeds(20, group([0.5, 0.6, 0.7]), group([0.52, 0.61, 0.7], lr=2))
    lines = markdown(*NETWORKS, seeds).splitlines()
    # Changes of 2, 1 and 0 points: with 2 degrees of freedom, 5.65 standard errors of 1 / sqrt(3).
    assert (
        "- What 3 seeds can show, if changes always spread as here, ± 1.00 points: one of 3.26"
        " points or more is found with a power of 80 %."
    ) in lines
    assert "- To find one of +1.00 points with a power of 80 % takes 10 seeds." in lines
    seeds = Seeds(20, group([0.5, 0.6, 0.7]), group([0.52, 0.6, 0.681], lr=2))
    assert "takes more than 1,000 seeds." in markdown(*NETWORKS, seeds)
    seeds = Seeds(20, group([0.5, 0.6]), group([0.6, 0.5], lr=2))
    assert "takes" not in markdown(*NETWORKS, seeds).split("### Accuracy")[0].split("seeds can")[1]
