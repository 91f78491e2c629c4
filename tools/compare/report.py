"""A comparison as Markdown: the verdict first, then what a reviewer asks next.

The text is in the templates beside this file. Here are the verdict, the tables, and how numbers
and names are written.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stages.common.intervals import Rate
from tools.compare.networks import Confusion, Digests, NetworkComparison, Paired
from tools.compare.recipes import SEEDS, Means, RecipeComparison, Recipes, Sample, SeedRun
from tools.compare.runs import ACCURACY, SEED, Change, digit_metrics
from tools.git import Revision
from tools.markdown import code, table
from tools.statistics import ALPHA, MAX_PAIRS, POWER, least_flips

Comparison = NetworkComparison | RecipeComparison

VERDICTS = {
    "better": "This {} is better",
    "worse": "This {} is worse",
    "no evidence": "No evidence that these {}s differ",
}


def markdown(
    comparison: Comparison,
    recipes: Recipes | None = None,
    contradictions: Mapping[str, Sequence[str]] = {},
    computed: Sequence[str] = (),
) -> str:
    """The whole report. With two revisions comes what is known about their `recipes`, and with any
    the `contradictions` in the files of each, by its name. A review has `computed` some of it
    again: these paragraphs, in which the verdict about the recipes stands, follow the first."""
    environment = Environment(  # noqa: S701 - HTML's escapes mean nothing in Markdown: see `code`
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # In the templates they have the names that they have here.
    helpers = [
        accuracies, arrow, code, confusion_table, digests, digit_metrics, least_flips, make_seeds,
        means_table, numbers, package, points, revision, runs_table, sentence,
    ]  # fmt: skip
    constants = {"ACCURACY": ACCURACY, "ALPHA": ALPHA, "MAX_PAIRS": MAX_PAIRS, "SEEDS": SEEDS}
    environment.filters |= {helper.__name__: helper for helper in helpers}
    environment.filters["count"] = "{:,}".format
    environment.globals |= {helper.__name__: helper for helper in helpers} | constants
    environment.globals["power"] = f"a power of {100 * POWER:.0f} %"
    alone = isinstance(comparison, RecipeComparison)
    template = environment.get_template("seeds.md.j2" if alone else "revisions.md.j2")
    text = template.render(
        vars(comparison),
        comparison=comparison,
        seeds=comparison if alone else recipes and recipes.seeds,
        recipes=recipes,
        contradictions=contradictions,
        computed=computed,
    )
    return text.strip()


def sentence(comparison: Comparison) -> str:
    """The verdict, which says what was tested: two networks, or two recipes."""
    if isinstance(comparison, RecipeComparison):
        return recipe_sentence(comparison)
    return network_sentence(comparison)


def network_sentence(comparison: NetworkComparison) -> str:
    """The verdict on two networks."""
    row = comparison.overall
    rates = f"{percent(row.base.accuracy)} → {percent(row.head.accuracy)}"
    if comparison.verdict == "same predictions":
        confidence = "the same" if comparison.same_confidence else "another"
        return (
            f"Same predictions: {rates}, each of the {row.n:,} test images is taken for the same"
            f" digit, with {confidence} confidence."
        )
    too_small = comparison.verdict == "no evidence" and row.change
    end = "; the test set is too small to show a change of this size" if too_small else ""
    return (
        f"{VERDICTS[comparison.verdict].format('network')}: {rates}, {row.fixed:,} test images"
        f" fixed, {row.broken:,} broken (exact McNemar {p_equals(row.p)}, n = {row.n:,})"
        f"{end}."
    )


def recipe_sentence(comparison: RecipeComparison) -> str:
    """The verdict on two recipes."""
    row = comparison.metrics[ACCURACY]
    base, head = (
        f"{points(side.mean)} ± {percent(side.deviation)}" for side in (row.base, row.head)
    )
    verdict = (
        f"{VERDICTS[comparison.verdict].format('recipe')}: mean accuracy {base} → {head},"
        f" {points(row.change, '+')} points (95 % interval {points(row.low, '+')} to"
        f" {points(row.high, '+')}, paired t-test {p_equals(row.p)}, n = {row.base.n} seeds)."
    )
    margin = comparison.not_worse
    if margin is None:
        return verdict
    shown = "Its loss is" if margin.holds else "Not shown that its loss is"
    return (
        f"{verdict} {shown} less than {100 * margin.margin:.4g} points (one-sided paired t-test"
        f" {p_equals(margin.p)})."
    )


def make_seeds(base: Revision, head: Revision) -> str:
    """The command that compares the recipes of two revisions. Their names may hold anything, so it
    has the commits."""
    sides = {"BASE": base, "HEAD": head}
    words = [f"{name}={side.commit[:7]}" for name, side in sides.items() if side.commit]
    return " ".join(["make seeds", *words])


def revision(side: Revision) -> str:
    """Its name and its commit."""
    if side.commit is None:
        return "the workspace"
    short = code(side.commit[:7])
    return short if side.commit.startswith(side.name) else f"{code(side.name)} ({short})"


def arrow(change: Change) -> str:
    """`0.001` → `0.01`."""
    return f"{value(change.base)} → {value(change.head)}"


def package(requirement: tuple[str, Change]) -> str:
    """A package and the change of its version."""
    name, change = requirement
    return f"{code(name)} {arrow(change)}"


def value(content: Any) -> str:  # noqa: ANN401 - whatever params.yaml holds
    """A value as params.yaml has it, on one line."""
    if content is None:
        return "none"
    plain = isinstance(content, str) and content
    return code(content if plain else json.dumps(content, ensure_ascii=False))


def accuracies(overall: Paired, digits: Mapping[str, Paired]) -> str:
    """A row for all images, and one a digit."""
    header = ["Digit", "n", "Base", "Head", "Change", "Flips", "p"]
    rows = [
        [
            digit,
            f"{row.n:,}",
            interval(row.base),
            interval(row.head),
            f"{row.change:+.2f}",
            f"+{row.fixed:,} -{row.broken:,}",
            p_text(row.p_corrected),
        ]
        for digit, row in {"all": overall, **digits}.items()
    ]
    return table(header, rows)


def interval(rate: Rate) -> str:
    """`98.05 (97.76-98.30)`, percent."""
    return f"{points(rate.accuracy)} ({points(rate.low)}-{points(rate.high)})"


def numbers(metrics: Mapping[str, Change]) -> str:
    """The metrics that are not accuracies."""
    rows = []
    for name, change in metrics.items():
        both = change.base is not None and change.head is not None
        by = f"{change.head - change.base:+.6g}" if both else ""
        rows.append([code(name), number(change.base), number(change.head), by])
    return table(["Metric", "Base", "Head", "Change"], rows)


def number(metric: float | None) -> str:
    """Six significant digits."""
    return "none" if metric is None else f"{metric:.6g}"


def confusion_table(title: str, rows: Sequence[Confusion], n: int) -> str:
    """A row for each confusion, counted in images."""
    cells = [
        [f"{label} taken for {predicted}", str(base), str(head), f"{head - base:+}"]
        for label, predicted, base, head in map(astuple, rows)
    ]
    return table([f"{title} (of {n:,} images)", "Base", "Head", "Change"], cells)


def digests(change: Digests) -> str:
    """The first digits of the digest, or of both."""
    base, head = (code(digest[:8]) if digest else "none" for digest in (change.base, change.head))
    return f"the same, {base}" if change.base == change.head else f"{base} → {head}"


def means_table(metrics: Mapping[str, Means]) -> str:
    """A row a metric, those of single digits last."""
    digits = digit_metrics(metrics)
    rows = []
    for name in [*(name for name in metrics if name not in digits), *digits]:
        row = metrics[name]
        change = f"{row.change:+.4f} ({row.low:+.4f} to {row.high:+.4f})"
        rows.append(
            [code(name), spread(row.base), spread(row.head), change, p_text(row.p_corrected)]
        )
    return table(["Metric", "Base", "Head", "Change", "p"], rows)


def spread(sample: Sample) -> str:
    """`0.9805 ± 0.0005`."""
    return f"{sample.mean:.4f} ± {sample.deviation:.4f}"


def runs_table(base: Sequence[SeedRun], head: Sequence[SeedRun]) -> str:
    """A row a seed, with the accuracy of each side."""
    before, after = ({run.seed: run.metrics[ACCURACY] for run in side} for side in (base, head))
    rows = []
    for seed in sorted(before):
        change = points(after[seed] - before[seed], "+")
        rows.append([str(seed), percent(before[seed]), percent(after[seed]), change])
    return table([code(SEED), "Base", "Head", "Change"], rows)


def points(fraction: float, sign: str = "-") -> str:
    """`98.05`, in percent or percentage points; with the sign `+` also `+0.30`."""
    return f"{100 * fraction:{sign}.2f}"


def percent(fraction: float) -> str:
    """`98.05 %`."""
    return f"{points(fraction)} %"


def p_equals(p: float) -> str:
    """`p = 0.25`, or `p < 1e-300` for what is too small for a float."""
    return f"p = {p_text(p)}" if p else f"p {p_text(p)}"


def p_text(p: float) -> str:
    """Two significant digits, or as many as it takes to be on the right side of 0.05."""
    if not p:
        return "< 1e-300"
    texts = (f"{p:.{digits}g}".replace("e-0", "e-") for digits in range(2, 18))
    return next(text for text in texts if (float(text) < ALPHA) == (p < ALPHA))
