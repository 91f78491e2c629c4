"""A comparison as Markdown: the verdict first, then what a reviewer asks next.

The text is in the templates beside this file. Here are the verdict, the tables, and how numbers
and names are written.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stages.common.intervals import Rate
from tools.compare.comparison import Change, Comparison, Confusion, Digests, Paired
from tools.compare.evidence import ACCURACY, PER_DIGIT, SEED
from tools.compare.groups import Means, Run, Sample, SeedComparison, digit_metrics
from tools.compare.seeds_file import SEEDS, Recipes
from tools.git import Revision
from tools.markdown import code, table
from tools.statistics import ALPHA, MAX_PAIRS, POWER, least_flips

NETWORK_VERDICTS = {
    "better": "This network is better",
    "worse": "This network is worse",
    "no evidence": "No evidence that these networks differ",
}
RECIPE_VERDICTS = {
    "better": "This recipe is better",
    "worse": "This recipe is worse",
    "no evidence": "No evidence that these recipes differ",
}


def markdown(comparison: Comparison | SeedComparison, recipes: Recipes | None = None) -> str:
    """The whole report. With two revisions comes what is known about their `recipes`."""
    environment = Environment(  # noqa: S701 - HTML's escapes mean nothing in Markdown: see `code`
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # In the templates they have the names that they have here.
    filters = [arrow, code, digests, package, revision]
    functions = [
        accuracies, confusion_table, digit_metrics, make_seeds, means_table, numbers, runs,
        seeds_can_show, test_set_can_show,
    ]  # fmt: skip
    environment.filters |= {function.__name__: function for function in filters}
    environment.filters["count"] = "{:,}".format
    environment.globals |= {function.__name__: function for function in functions}
    alone = isinstance(comparison, SeedComparison)
    seeds = comparison if alone else recipes and recipes.seeds
    parts = [comparison] if alone or not seeds else [seeds, comparison]
    template = environment.get_template("seeds.md.j2" if alone else "revisions.md.j2")
    context = {"seeds": seeds, "recipes": recipes, "SEEDS": SEEDS}
    return template.render(vars(comparison), sentences=map(sentence, parts), **context).strip()


def sentence(comparison: Comparison | SeedComparison) -> str:
    """The verdict, which says what was tested: two networks, or two recipes."""
    if isinstance(comparison, SeedComparison):
        return recipe_sentence(comparison)
    return network_sentence(comparison)


def network_sentence(comparison: Comparison) -> str:
    """The verdict on two networks."""
    row = comparison.overall
    rates = f"{percent(row.base.accuracy)} → {percent(row.head.accuracy)}"
    if comparison.verdict == "same predictions":
        confidence = "the same" if comparison.same_confidence else "another"
        return (
            f"Same predictions: {rates}, each of the {row.n:,} test images is taken for the same"
            f" digit, with {confidence} confidence."
        )
    end = "; the test set is too small to show a change of this size"
    return (
        f"{NETWORK_VERDICTS[comparison.verdict]}: {rates}, {row.fixed:,} test images fixed,"
        f" {row.broken:,} broken (exact McNemar {p_equals(row.p)}, n = {row.n:,})"
        f"{end if comparison.verdict == 'no evidence' else ''}."
    )


def recipe_sentence(comparison: SeedComparison) -> str:
    """The verdict on two recipes."""
    row = comparison.metrics[ACCURACY]
    base, head = (
        f"{100 * side.mean:.2f} ± {100 * side.deviation:.2f} %" for side in (row.base, row.head)
    )
    return (
        f"{RECIPE_VERDICTS[comparison.verdict]}: mean accuracy {base} → {head},"
        f" {100 * row.change:+.2f} points (95 % interval {100 * row.low:+.2f} to"
        f" {100 * row.high:+.2f}, paired t-test {p_equals(row.p)}, n = {row.base.n} seeds)."
    )


def test_set_can_show(overall: Paired) -> str:
    """The smallest change that McNemar's test can tell from luck."""
    flips = overall.fixed + overall.broken
    least = least_flips(flips)
    start = f"What this test set can show, with {flips:,} flips:"
    if least is None:
        return f"{start} nothing. It takes 6 or more for p < {ALPHA}."
    return f"{start} a change of {100 * least / overall.n:.2f} or more has p < {ALPHA}."


def seeds_can_show(seeds: SeedComparison) -> list[str]:
    """The smallest change that the t-test finds, and how many seeds the one that was seen takes."""
    row = seeds.metrics[ACCURACY]
    power = f"a power of {100 * POWER:.0f} %"
    least = (
        f"What {row.base.n} seeds can show, if changes always spread as here,"
        f" ± {100 * row.deviation:.2f} points: one of {100 * seeds.least_change:.2f} points or more"
        f" is found with {power}."
    )
    if not row.change:
        return [least]
    needed = f"more than {MAX_PAIRS:,}" if seeds.seeds_needed is None else seeds.seeds_needed
    return [
        least,
        f"To find one of {100 * row.change:+.2f} points with {power} takes {needed} seeds.",
    ]


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
    return f"{100 * rate.accuracy:.2f} ({100 * rate.low:.2f}-{100 * rate.high:.2f})"


def numbers(metrics: Mapping[str, Change]) -> str:
    """The metrics that are not accuracies."""
    rows = [
        [code(name), number(change.base), number(change.head), difference(change)]
        for name, change in metrics.items()
    ]
    return table(["Metric", "Base", "Head", "Change"], rows)


def number(metric: float | None) -> str:
    """Six significant digits."""
    return "none" if metric is None else f"{metric:.6g}"


def difference(change: Change) -> str:
    """Head minus base, where there are both."""
    both = change.base is not None and change.head is not None
    return f"{change.head - change.base:+.6g}" if both else ""


def confusion_table(title: str, rows: Sequence[Confusion], n: int) -> str:
    """A row for each confusion, counted in images."""
    cells = [
        [
            f"{row.label} taken for {row.predicted}",
            str(row.base),
            str(row.head),
            f"{row.head - row.base:+}",
        ]
        for row in rows
    ]
    return table([f"{title} (of {n:,} images)", "Base", "Head", "Change"], cells)


def digests(change: Digests) -> str:
    """The first digits of the digest, or of both."""
    base, head = (code(digest[:8]) if digest else "none" for digest in (change.base, change.head))
    return f"the same, {base}" if change.base == change.head else f"{base} → {head}"


def means_table(metrics: Mapping[str, Means]) -> str:
    """A row a metric, those of single digits last."""
    rows = [
        [
            code(name),
            spread(row.base),
            spread(row.head),
            f"{row.change:+.4f} ({row.low:+.4f} to {row.high:+.4f})",
            p_text(row.p_corrected),
        ]
        for name, row in sorted(metrics.items(), key=lambda item: item[0].startswith(PER_DIGIT))
    ]
    return table(["Metric", "Base", "Head", "Change", "p"], rows)


def spread(sample: Sample) -> str:
    """`0.9805 ± 0.0005`."""
    return f"{sample.mean:.4f} ± {sample.deviation:.4f}"


def runs(base: Sequence[Run], head: Sequence[Run]) -> str:
    """A row a seed, with the accuracy of each side."""
    before, after = ({run.seed: run.metrics[ACCURACY] for run in side} for side in (base, head))
    rows = [
        [
            str(seed),
            percent(before[seed]),
            percent(after[seed]),
            f"{100 * (after[seed] - before[seed]):+.2f}",
        ]
        for seed in sorted(before)
    ]
    return table([code(SEED), "Base", "Head", "Change"], rows)


def percent(fraction: float) -> str:
    """`98.05 %`."""
    return f"{100 * fraction:.2f} %"


def p_equals(p: float) -> str:
    """`p = 0.25`, or `p < 1e-300` for what is too small for a float."""
    return f"p = {p_text(p)}" if p else f"p {p_text(p)}"


def p_text(p: float) -> str:
    """Two significant digits, or as many as it takes to be on the right side of 0.05."""
    if not p:
        return "< 1e-300"
    texts = (f"{p:.{digits}g}".replace("e-0", "e-") for digits in range(2, 18))
    return next(text for text in texts if (float(text) < ALPHA) == (p < ALPHA))
