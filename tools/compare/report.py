"""A comparison as Markdown: the verdict first, then what a reviewer asks next."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tools.compare.comparison import (
    Change,
    Comparison,
    Confusion,
    Paired,
    Rate,
)
from tools.compare.evidence import ACCURACY, DATA, MODEL, PER_DIGIT, Revision
from tools.compare.seeds import SEED, Means, Sample, SeedComparison
from tools.markdown import code, table
from tools.statistics import ALPHA


def markdown(comparison: Comparison) -> str:
    """The report on two revisions."""
    overall = comparison.overall
    return "\n\n".join(
        [
            f"**{sentence(comparison)}**",
            f"- From {revision(comparison.base)} to {revision(comparison.head)}.\n"
            f"- Of {overall.n:,} test images: {flips(comparison)}.",
            *stale(comparison.stale),
            "### Params that changed",
            bullets(comparison.params),
            "### Accuracy",
            accuracies(overall, comparison.digits),
            f"- Base, head: % of the n images that are classified as labelled"
            " (95 % interval, Wilson).\n"
            "- Change: percentage points. Flips: + fixed (wrong before, right now), - broken.\n"
            "- p: exact McNemar, two-sided; that of a digit is corrected for"
            f" {len(comparison.digits)} looks (Holm).",
            "### Other metrics",
            numbers(comparison.metrics),
            "### Confusions",
            confusions("Grew most", comparison.grew, overall.n),
            confusions("Shrank most", comparison.shrank, overall.n),
            "### What else changed",
            "\n".join(
                [
                    f"- Data ({code(DATA)}): {digests(comparison.data)}",
                    f"- Weights ({code(MODEL)}): {digests(comparison.weights)}",
                    *code_and_requirements(comparison.code, comparison.requirements),
                ]
            ),
            *caveat(comparison),
        ]
    )


def seeds_markdown(comparison: SeedComparison) -> str:
    """The report on two groups of runs."""
    digits = sum(name.startswith(PER_DIGIT) for name in comparison.metrics)
    return "\n\n".join(
        [
            f"**{seeds_sentence(comparison)}**",
            *stale(comparison.stale),
            "### Params that changed",
            bullets(comparison.params),
            "### Metrics",
            means(comparison.metrics),
            "- Base, head: mean ± standard deviation over the"
            f" {len(comparison.base)} and {len(comparison.head)} runs,"
            f" each on {comparison.n:,} test images.\n"
            "- Change: of the mean (95 % interval).\n"
            "- p: Welch's t-test, two-sided; that of a digit is corrected for"
            f" {digits} looks (Holm).",
            "### Runs",
            runs(comparison),
            "### What else changed",
            "\n".join(
                [
                    f"- Data ({code(DATA)}): {digests(comparison.data)}",
                    *code_and_requirements(comparison.code, comparison.requirements),
                ]
            ),
        ]
    )


def sentence(comparison: Comparison) -> str:
    """The verdict on two revisions."""
    row = comparison.overall
    rates = f"{percent(row.base.accuracy)} → {percent(row.head.accuracy)}"
    counts = (
        f"{rates}, {row.fixed:,} test images fixed, {row.broken:,} broken"
        f" (exact McNemar {p_equals(row.p)}, n = {row.n:,})"
    )
    match comparison.verdict:
        case "better":
            return f"Better: {counts}."
        case "worse":
            return f"Worse: {counts}."
        case "no evidence":
            return (
                f"No evidence of a difference: {counts};"
                " a change this small needs more than this test set to see."
            )
        case "same predictions":
            confidence = "the same" if comparison.same_confidence else "another"
            return (
                f"Same predictions: {rates}, each of the {row.n:,} test images is taken for the"
                f" same digit, with {confidence} confidence."
            )


def seeds_sentence(comparison: SeedComparison) -> str:
    """The verdict on two groups of runs."""
    row = comparison.metrics[ACCURACY]
    base, head = (
        f"{100 * side.mean:.2f} ± {100 * side.deviation:.2f} % (n = {side.n})"
        for side in (row.base, row.head)
    )
    words = {"better": "Better", "worse": "Worse"}
    start = words.get(comparison.verdict, "No evidence of a difference")
    end = "" if comparison.verdict in words else "; so few seeds cannot tell it from luck"
    return f"{start}: mean accuracy {base} → {head}, Welch's t-test {p_equals(row.p)}{end}."


def revision(side: Revision) -> str:
    """Its name and its commit."""
    if side.commit is None:
        return "the workspace"
    short = code(side.commit[:7])
    return short if side.commit.startswith(side.name) else f"{code(side.name)} ({short})"


def flips(comparison: Comparison) -> str:
    """What became of the test images."""
    row, otherwise = comparison.overall, comparison.wrong_otherwise
    same = row.n - row.fixed - row.broken - otherwise
    return (
        f"{row.fixed:,} fixed, {row.broken:,} broken,"
        f" {otherwise:,} still wrong but as another digit, {same:,} as before"
    )


def stale(names: Mapping[str, Sequence[str]]) -> list[str]:
    """A warning for each side whose files are not those that its run used or gave."""
    return [
        f"Note: {code(side)} is not as its {code('dvc.lock')} says"
        f" ({', '.join(map(code, files))}): this compares the last run; {code('dvc repro')} makes"
        " a new one."
        for side, files in names.items()
        if files
    ]


def bullets(changes: Mapping[str, Change]) -> str:
    """A line for each value that changed."""
    lines = [
        f"- {code(name)}: {value(change.base)} → {value(change.head)}"
        for name, change in changes.items()
    ]
    return "\n".join(lines) or "None."


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
    if not metrics:
        return "None."
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


def confusions(title: str, rows: Sequence[Confusion], n: int) -> str:
    """A row for each confusion, counted in images."""
    if not rows:
        return f"{title}: none."
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


def digests(change: Change) -> str:
    """The first digits of the digest, or of both."""
    base, head = (code(digest[:8]) if digest else "none" for digest in (change.base, change.head))
    return f"the same, {base}" if change.base == change.head else f"{base} → {head}"


def code_and_requirements(
    sources: Mapping[str, Change], requirements: Mapping[str, Change]
) -> list[str]:
    """Two lines: the files whose digests differ, the packages whose versions do."""
    packages = [
        f"{code(name)} {value(change.base)} → {value(change.head)}"
        for name, change in requirements.items()
    ]
    return [
        f"- Code: {', '.join(map(code, sources)) or 'the same'}",
        f"- Requirements: {', '.join(packages) or 'the same'}",
    ]


def caveat(comparison: Comparison) -> list[str]:
    """What one run a side cannot tell."""
    if comparison.verdict == "same predictions":
        return []
    return [
        "This is one training run a side. Whether other seeds would agree:"
        f" {code('python -m tools.compare --seeds')}."
    ]


def means(metrics: Mapping[str, Means]) -> str:
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


def runs(comparison: SeedComparison) -> str:
    """A row a run."""
    rows = [
        [side, revision(run.revision), str(run.seed), percent(run.accuracy)]
        for side, group in (("Base", comparison.base), ("Head", comparison.head))
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
