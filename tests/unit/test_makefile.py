"""What `make` would run, as its option --dry-run shows it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import posix
from tests.support.pages import Command, Page
from tests.support.project import ENVIRONMENT, make_command
from tests.support.runner import ROOT

pytestmark = posix.only  # make

BIN = f"{Path(sys.prefix)}/bin/"
INSTALLING = Page(ROOT / "docs/installing.md")


def would_run(*arguments: str) -> list[str]:
    """The lines that make would give to a shell."""
    command = make_command("--dry-run", *arguments)
    return subprocess.check_output(command, cwd=ROOT, env=ENVIRONMENT, text=True).splitlines()


def test_no_command_of_the_environment_is_looked_for_on_the_path() -> None:
    """Apple's make looks on the PATH that it was started with, where the environment is not."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = [line for line in makefile.splitlines() if line.startswith(".PHONY:")]
    script = " ;\n".join(would_run("--always-make", *phony.split()[1:]))
    started = {words[0] for words in Command(script).words()}
    ours = {path.name for path in Path(BIN).iterdir()} - {"python3"}  # which starts install.py
    assert started & ours == set()
    assert {f"{BIN}dvc", f"{BIN}python", f"{BIN}mypy"} <= started


def test_on_windows_the_environment_is_laid_out_otherwise() -> None:
    lines = would_run("--always-make", "OS=Windows_NT", "VENV=v", "repro")
    assert "python install.py v requirements.txt" in lines
    assert "v/Scripts/dvc repro" in lines


@pytest.mark.committed
@pytest.mark.parametrize(
    ("target", "commands"),
    [row for row in INSTALLING.rows() if row[0].startswith("make ") and len(row) == 2],
)
def test_the_page_says_what_make_runs(target: str, commands: str) -> None:
    lines = [line for line in would_run(*target.split()[1:]) if line.startswith(BIN)]
    expected = [line.removeprefix(BIN).replace("'", "") for line in lines if " config " not in line]
    assert expected
    assert all(line in commands for line in expected)


@pytest.mark.committed
@pytest.mark.parametrize("recipe", ["sprint", "tuned"])
def test_a_recipe_shows_the_command_that_make_runs(recipe: str) -> None:
    command = would_run(recipe)[-1].removeprefix(BIN)
    assert f"#     {command}\n" in (ROOT / "recipes" / recipe).read_text()
