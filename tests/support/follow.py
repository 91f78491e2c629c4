"""Do what a page says, in its order, as a reader would: run its commands, write its files, make
its changes. One shell runs them all, so that `cd` and variables last."""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from tests.support.pages import Command, Page
from tests.support.project import run

MARK = "=== step"
OMITTED = "..."
VARYING = {  # what differs from run to run, and what stands for it
    r"\b(?=[a-f]*\d)[0-9a-f]{7,64}\b": "<digest>",
    r"\b\d+(\.\d+)? (s|ms|seconds?|minutes?)\b": "<time>",
    r"\b[\d,]+ kB\b": "<size>",
    r"\bfile://\S+": "<file>",
    r"\[[a-z]+-[a-z]+\]": "<experiment>",  # [snowy-tuns]
    r"[\s─]+": " ",  # the width of a table
}


class Step(NamedTuple):
    """Something to do, as a command for bash, and the lines that it must print."""

    place: str  # page and line
    command: str
    output: list[str]


def steps(page: Page, folder: Path) -> Iterator[Step]:
    """All that the page wants done. What it wants written goes to files in `folder`."""
    fences = page.fences()
    for fence, after in zip_longest(fences, fences[1:]):
        place = f"{page}, line {fence.line}"
        if fence.not_run:
            continue
        content = folder / str(fence.line)
        content.write_text(fence.content, encoding="utf-8")
        if fence.language == "diff":
            yield Step(place, f"git apply --recount '{content}'", [])
        elif fence.file:
            yield Step(place, f"cp '{content}' '{fence.file}'", [])
        commands = fence.commands()
        if after and after.language == "output":
            text = " && ".join(command.text for command in commands)
            commands = [Command(text, after.content.splitlines())]
        for command in commands:
            yield Step(place, command.text, command.output)


def follow(page: Page, clone: Path, folder: Path, environment: Mapping[str, str]) -> None:
    """Do it in a clone of the project; `folder` is empty, for what must be kept aside.

    Raises:
        AssertionError: a command fails, or does not print a line that the page shows.
    """
    todo = list(steps(page, folder))
    script = "set -o pipefail -o monitor\n" + "".join(  # with jobs, as in a terminal
        f"printf '\\n{MARK} {number}\\n'\n{step.command}\n[ $? = 0 ] || exit 1\n"
        for number, step in enumerate(todo)
    )
    bash = run(["bash", "-c", script], clone, environment)
    printed = re.split(rf"\n{MARK} \d+\n", bash.stdout)[1:]
    for number, (step, text) in enumerate(zip(todo, printed, strict=False), start=1):
        print(f"\n{step.place}: $ {step.command}\n{text}", file=sys.stderr)  # if the test fails
        failed = bash.returncode and number == len(printed)
        assert not failed, f"{step.place}: this fails: {step.command}"
        missing = first_missing(step.output, text)
        assert missing is None, f"{step.place}: {step.command} does not print {missing!r}"
    assert len(printed) == len(todo)


def first_missing(shown: Iterable[str], printed: str) -> str | None:
    """The first line that a page shows and that a command does not print, in that order."""
    rest = iter([masked(line) for line in re.split(r"[\n\r]", printed)])
    for line in shown:
        start = masked(line.removesuffix(OMITTED))  # of a line whose end may be left out, too
        same = str.startswith if line.endswith(OMITTED) else str.__eq__
        if start and not any(same(candidate, start) for candidate in rest):
            return line
    return None


def masked(line: str) -> str:
    """The line without what differs from run to run."""
    for pattern, name in VARYING.items():
        line = re.sub(pattern, name, line)
    return line.strip()
