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
from tools.compare.evidence import ACCURACY, PER_DIGIT
from tools.compare.seeds import SEED, Means, Run, Sample, SeedComparison, digit_metrics
from tools.markdown import code, table
from tools.repository import Revision
from tools.statistics import ALPHA

VERDICTS = {
    "better": "Better",
    "worse": "Worse",
    "no evidence": "No evidence of a difference",
}


def markdown(comparison: Comparison | SeedComparison) -> str:
    """The whole report."""
    environment = Environment(  # noqa: S701 - HTML's escapes mean nothing in Markdown: see `code`
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # In the templates they have the names that they have here.
    filters = [arrow, code, digests, package, revision]
    functions = [accuracies, confusion_table, digit_metrics, means_table, numbers, runs]
    environment.filters |= {function.__name__: function for function in filters}
    environment.filters["count"] = "{:,}".format
    environment.globals |= {function.__name__: function for function in functions}
    name = "seeds.md.j2" if isinstance(comparison, SeedComparison) else "revisions.md.j2"
    text = environment.get_template(name).render(vars(comparison), sentence=sentence(comparison))
    return text.strip()


def sentence(comparison: Comparison | SeedComparison) -> str:
    """The verdict."""
    if isinstance(comparison, SeedComparison):
        return seeds_sentence(comparison)
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
        f"{VERDICTS[comparison.verdict]}: {rates}, {row.fixed:,} test images fixed,"
        f" {row.broken:,} broken (exact McNemar {p_equals(row.p)}, n = {row.n:,})"
        f"{end if comparison.verdict == 'no evidence' else ''}."
    )


def seeds_sentence(comparison: SeedComparison) -> str:
    """The verdict on two groups of runs."""
    row = comparison.metrics[ACCURACY]
    base, head = (
        f"{100 * side.mean:.2f} ± {100 * side.deviation:.2f} % (n = {side.n})"
        for side in (row.base, row.head)
    )
    end = "; with so few seeds this may be luck"
    return (
        f"{VERDICTS[comparison.verdict]}: mean accuracy {base} → {head},"
        f" Welch's t-test {p_equals(row.p)}{end if comparison.verdict == 'no evidence' else ''}."
    )


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
    """A row a run."""
    rows = [
        [side, revision(run.revision), str(run.seed), percent(run.accuracy)]
        for side, group in (("Base", base), ("Head", head))
        for run in group
    ]
    return table(["Side", "Revision", code(SEED), "Accuracy"], rows)


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
