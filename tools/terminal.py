"""Text that a terminal shows well."""

from collections.abc import Sequence

from stages.common.errors import printable


def columns(rows: Sequence[Sequence[str]], sides: str) -> str:
    """A line for each row, in columns. `sides` has a character for each: `<` aligns the column
    left, `>` right."""
    rows = [[*map(printable, row)] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        [f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)]
        for row in rows
    )
    return "\n".join("  ".join(line).rstrip() for line in lines)
