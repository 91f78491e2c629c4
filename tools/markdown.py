"""Markdown that reads well as it is, on a terminal, and rendered."""

import re
from collections.abc import Sequence

from stages.common.errors import printable


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose source is aligned too; all columns but the first are set to the right."""
    header, *rows = ([cell.replace("|", r"\|") for cell in row] for row in (header, *rows))
    widths = [max(3, *map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = (
        [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
        for row in (header, rule, *rows)
    )
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def code(text: str) -> str:
    """A text, not empty, between backticks: nothing in it is taken for Markdown, HTML or a mention,
    or controls a terminal.

    The fence is longer than any row of backticks in the text, and set off from those at its ends
    (CommonMark 0.31, section 6.1).
    """
    line = printable(" ".join(text.split("\n")))
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{space}{line}{space}{fence}"
