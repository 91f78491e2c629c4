"""README.md and the pages of docs/, taken apart: fences, commands, links, code, tables, sentences.

How the pages are written, so that tests can follow them:

- In a fence of the language `console`, a line that starts with `$ ` is a command (`ada$ ` is one on
  the host ada). The lines below it are what it prints; `...` stands for lines that are left out.
- A fence under `<!-- not run: REASON -->` is not run. Of a fence under `<!-- output varies -->` the
  commands are run, and what they print is not compared.
- A fence whose first line is `# NAME`, with an ending such as `.py`, is a file for the reader to
  write. A fence of the language `diff` is a change for the reader to make.
"""

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.support.runner import ROOT

PARSER = MarkdownIt("gfm-like", {"linkify": False})
NOT_RUN = re.compile(r"<!-- not run: (.+) -->")
VARIES = "<!-- output varies -->"
COMMAND = re.compile(r"(?:\w+)?\$ (.+)")
FILE = re.compile(r"# ([\w./-]+\.\w+)")
SUBSTITUTION = re.compile(r"\$\(([^()]*)\)")
OPERATORS = {"&&", "||", "|", ";", "&"}


@dataclass
class Command:
    """A line for a shell, and the lines that the page shows below it."""

    text: str
    output: list[str] = field(default_factory=list)

    def words(self) -> list[list[str]]:
        """The words of each simple command in it, without variables, redirections, comments.
        A substitution `$(...)` is one word of its command, and a command of its own."""
        inner = [Command(text) for text in SUBSTITUTION.findall(self.text)]
        outer = SUBSTITUTION.sub("WORDS", self.text.replace("\\\n", " "))
        lexer = shlex.shlex(outer, posix=True, punctuation_chars="&|;<>")
        lexer.whitespace_split = True
        simple: list[list[str]] = [[]]
        redirected = False
        for word in lexer:
            if word in OPERATORS:
                simple.append([])
            elif set(word) <= set("<>&"):
                redirected = True
            elif redirected:
                redirected = False
            elif simple[-1] or not re.match(r"[A-Z_]+=", word):
                simple[-1].append(word)
        simple += [words for command in inner for words in command.words()]
        return [words for words in simple if words]


@dataclass
class Fence:
    """A block of code."""

    line: int  # of the page, where it starts
    language: str
    content: str
    comment: str  # the comment right above, or ""

    @property
    def not_run(self) -> str:
        """Why it is not run, or ""."""
        match = NOT_RUN.fullmatch(self.comment)
        return match[1] if match else ""

    @property
    def varies(self) -> bool:
        return self.comment == VARIES

    @property
    def file(self) -> str:
        """The name of the file that it is, or ""."""
        match = FILE.match(self.content)
        return match[1] if match and self.language != "console" else ""

    def commands(self) -> list[Command]:
        """The commands, if it is of the language `console`."""
        commands: list[Command] = []
        for line in self.content.splitlines() if self.language == "console" else []:
            match = COMMAND.fullmatch(line)
            if match:
                commands.append(Command(match[1]))
            elif not commands:
                raise ValueError(f"line {self.line}: {line!r} is above the first command")
            elif commands[-1].text.endswith("\\"):
                commands[-1].text += f"\n{line}"
            else:
                commands[-1].output.append(line)
        return commands


class Page:
    """A file in Markdown."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text(encoding="utf-8")
        self.tokens = PARSER.parse(self.text)

    def __repr__(self) -> str:
        inside = self.path.is_relative_to(ROOT)
        return self.path.relative_to(ROOT).as_posix() if inside else self.path.name

    def fences(self) -> list[Fence]:
        fences = []
        for above, token in pairwise([Token("", "", 0), *self.tokens]):
            if token.type == "fence":
                comment = above.content.strip() if above.type == "html_block" else ""
                line = token.map[0] + 1 if token.map else 0
                fences.append(Fence(line, token.info, token.content, comment))
        return fences

    def commands(self) -> list[Command]:
        """The commands of all fences, also of those that are not run."""
        return [command for fence in self.fences() for command in fence.commands()]

    def shown(self) -> list[str]:
        """The lines that the commands of all fences print."""
        return [line for command in self.commands() for line in command.output]

    def inline(self) -> Iterator[Token]:
        """What stands in lines: text, code, links, pictures."""
        for token in self.tokens:
            yield from token.children or []

    def code(self) -> list[str]:
        """What stands between backticks."""
        return [token.content for token in self.inline() if token.type == "code_inline"]

    def links(self) -> list[str]:
        """The targets of links and pictures."""
        targets = [token.attrGet("href") or token.attrGet("src") for token in self.inline()]
        targets += re.findall(r'(?:src|href)="([^"]+)"', self.text)
        return [str(target) for target in targets if target]

    def linked_code(self) -> list[tuple[str, str]]:
        """The code that is a link, and the target: [`code`](target)."""
        return [
            (code.content, str(link.attrGet("href")))
            for link, code in pairwise(self.inline())
            if link.type == "link_open" and code.type == "code_inline"
        ]

    def anchors(self) -> set[str]:
        """The anchors that GitHub gives the headings."""
        seen: Counter[str] = Counter()
        anchors = set()
        for above, token in pairwise(self.tokens):
            if above.type == "heading_open":
                slug = re.sub(r"[^\w\- ]", "", plain(token, code="{}").lower()).replace(" ", "-")
                anchors.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
                seen[slug] += 1
        return anchors

    def rows(self) -> list[list[str]]:
        """The text of the cells of each row of each table, code without its backticks."""
        rows: list[list[str]] = []
        for above, token in pairwise(self.tokens):
            if token.type == "tr_open":
                rows.append([])
            elif above.type in ("td_open", "th_open"):
                rows[-1].append(plain(token, code="{}"))
        return rows

    def sentences(self) -> list[str]:
        """All sentences, code as one word. A paragraph, a cell, an item of a list ends one."""
        texts = [plain(token, code="code") for token in self.tokens if token.type == "inline"]
        return [sentence for text in texts for sentence in re.split(r"(?<=[.!?])\W*\s+", text)]


def plain(token: Token, code: str) -> str:
    """The text of what stands in lines, with the format `code` for code."""
    breaks = {"softbreak": " ", "hardbreak": " "}
    return "".join(
        code.format(child.content)
        if child.type == "code_inline"
        else breaks.get(child.type, child.content if child.type == "text" else "")
        for child in token.children or []
    )


README = Page(ROOT / "README.md")
TOPICS = [Page(path) for path in sorted((ROOT / "docs").glob("*.md"))]
PAGES = [README, *TOPICS]
DECISIONS = [Page(path) for path in sorted((ROOT / "docs/decisions").glob("*.md"))]
ALL = [*PAGES, Page(ROOT / "CONTRIBUTING.md"), *DECISIONS]
