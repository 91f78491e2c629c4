"""README.md and the pages of docs/, taken apart: commands, links, code, tables.

How the pages are written, so that tests can follow them:

- In a fence of the language `console`, a line that starts with `$ ` is a command (`ada$ ` is one on
  the host ada). The lines below it are what it prints; `...` stands for lines that are left out.
- A fence of the language `output` is what the commands of the fence before it print: an answer that
  is folded away.
- A fence under `<!-- not run: REASON -->` is not run.
- A fence whose first line is `# NAME`, with an ending such as `.py`, is a file for the reader to
  write. A fence of the language `diff` is a change for the reader to make.
"""

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.runner import ROOT

FENCE = re.compile(
    r"(?:<!-- not run: (?P<not_run>.+) -->\n)?^```(?P<language>\w*)\n(?P<content>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
COMMAND = re.compile(r"^\w*\$ ((?:.*\\\n)*.*)\n((?:(?!\w*\$ ).*\n)*)", re.MULTILINE)
FILE = re.compile(r"# ([\w./-]+\.\w+)\n")
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
        lexer = shlex.shlex(
            SUBSTITUTION.sub("WORDS", self.text.replace("\\\n", " ")),
            posix=True,
            punctuation_chars="&|;<>",
        )
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
        for text in SUBSTITUTION.findall(self.text):
            simple += Command(text).words()
        return [words for words in simple if words]


@dataclass
class Fence:
    """A block of code."""

    line: int  # of the page, where it starts
    language: str
    content: str
    not_run: str | None  # why

    @property
    def file(self) -> str:
        """The name of the file that it is, or ""."""
        match = FILE.match(self.content)
        return match[1] if match else ""

    def commands(self) -> list[Command]:
        """The commands, if it is of the language `console`."""
        found = COMMAND.findall(self.content) if self.language == "console" else []
        return [Command(text, output.splitlines()) for text, output in found]


class Page:
    """A file in Markdown."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text(encoding="utf-8")
        self.prose = FENCE.sub("", self.text)

    def __repr__(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    def fences(self) -> list[Fence]:
        return [
            Fence(self.text.count("\n", 0, match.start()) + 1, **match.groupdict())
            for match in FENCE.finditer(self.text)
        ]

    def commands(self) -> list[Command]:
        """The commands of all fences, also of those that are not run."""
        return [command for fence in self.fences() for command in fence.commands()]

    def shown(self) -> list[str]:
        """The lines that the commands of all fences print."""
        return [line for command in self.commands() for line in command.output]

    def code(self) -> list[str]:
        """What stands between backticks in the sentences."""
        return re.findall(r"`([^`\n]+)`", self.prose)

    def links(self) -> list[str]:
        """The targets of links and pictures."""
        return re.findall(r'(?:\]\(|(?:src|href)=")([^)"]+)', self.prose)

    def anchors(self) -> set[str]:
        """The anchors that GitHub gives the headings."""
        headings = re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}

    def rows(self) -> list[list[str]]:
        """The text of the cells of each row of each table, code without its backticks."""
        lines = re.findall(r"^\|(.+)\|$", self.prose.replace("`", ""), re.MULTILINE)
        return [[cell.strip() for cell in line.split("|")] for line in lines]


README = Page(ROOT / "README.md")
TOPICS = [Page(path) for path in sorted((ROOT / "docs").glob("*.md"))]
PAGES = [README, *TOPICS]
