"""The Markdown is read back with markdown-it, another implementation of GitHub's tables."""

import pytest
from markdown_it import MarkdownIt

from tools.markdown import code, table

RENDERER = MarkdownIt("gfm-like", {"linkify": False})
HOSTILE = ["`", "``", "a`b", "`a`", " ", "a|b", r"a\|b", "<b>", "*a*", "@name", "![](x)", "[a](b)"]


def cells(markdown: str) -> list[str]:
    """The text or the code of each cell; any other element would be missing."""
    inline = [token for token in RENDERER.parse(markdown) if token.type == "inline"]
    children = [token.children or [] for token in inline]
    assert {child.type for row in children for child in row} <= {"text", "code_inline"}
    return ["".join(child.content for child in row) for row in children]


@pytest.mark.parametrize("text", HOSTILE)
def test_code_comes_out_as_it_went_in(text: str) -> None:
    assert cells(f"From {code(text)} on.") == [f"From {text} on."]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_cell_comes_out_as_it_went_in(text: str) -> None:
    assert cells(table(["a", "b"], [[code(text), "1"]])) == ["a", "b", text, "1"]


def test_a_line_break_does_not_end_the_line() -> None:
    assert code("a\n\n# b") == "`a  # b`"


def test_columns_line_up_in_the_source() -> None:
    assert table(["Name", "n"], [["long name", "10,000"], ["x", "1"]]).splitlines() == [
        "| Name      |      n |",
        "| --------- | -----: |",
        "| long name | 10,000 |",
        "| x         |      1 |",
    ]


def test_a_narrow_column_is_still_a_table() -> None:
    assert cells(table(["a", "p"], [["b", "1"]])) == ["a", "p", "b", "1"]
