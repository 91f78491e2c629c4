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
def test_code_comes_out_as_it_went_in_also_in_a_table(text: str) -> None:
    assert cells(f"From {code(text)} on.") == [f"From {text} on."]
    assert cells(table(["a", "b"], [[code(text), "1"]])) == ["a", "b", text, "1"]


def test_a_line_break_does_not_end_the_line() -> None:
    assert code("a\n\n# b") == "`a  # b`"
