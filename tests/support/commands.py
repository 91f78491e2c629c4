"""Whether the tool that a command names knows its words: the tool's own parser is asked."""

import argparse
import importlib.util
import io
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from itertools import pairwise
from typing import Any

import gto.cli
import pytest
from click import ClickException
from dvc.cli import DvcParserError
from dvc.cli.parser import get_main_parser
from ruamel.yaml import YAML
from torch.distributed.run import get_args_parser

from tests.support.runner import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
VARIABLES = set(re.findall(r"^([A-Z]+) *\?=", MAKEFILE, re.MULTILINE))
OURS = {"stages", "tools", "benchmarks", "tests"}
SHELL = {
    "[", "cat", "cd", "cp", "done", "export", "grep", "head", "install", "kill", "ls", "mkdir",
    "realpath", "rm", "rsync", "sed", "sleep", "source", "ssh", "tail", "unset", "wait",
}  # fmt: skip
KEYWORDS = {"do", "else", "if", "then", "until", "while"}  # a command comes after them


class Understood(BaseException):
    """A parser had no complaint; ends the program before it does anything."""


def complaint(words: list[str]) -> str:
    """What a tool has against a command, or ""."""
    while words[0] in KEYWORDS:
        words = words[1:]
    output = io.StringIO()
    check = CHECKS.get(words[0])
    if check is None:
        script = words[0].startswith(".ci/") and (ROOT / words[0]).exists()
        return "" if words[0] in SHELL or script else f"no tool that a page uses: {words[0]}"
    with redirect_stderr(output), redirect_stdout(output):
        try:
            return check(words[1:])
        except (SystemExit, DvcParserError, ClickException) as error:
            return f"{output.getvalue()}{error}"
        except Understood:
            return ""


def make(words: list[str]) -> str:
    """Targets, and variables that may be set."""
    variables = {word.partition("=")[0] for word in words if "=" in word}
    unknown = {word for word in words if "=" not in word} - TARGETS | variables - VARIABLES
    return f"the Makefile has no {unknown}" if unknown else ""


def python(words: list[str]) -> str:
    """A module of ours by its own parser; others are installed."""
    if words[0] != "-m":
        return ""
    name, *arguments = words[1:]
    if name in CHECKS:
        return CHECKS[name](arguments)
    if name.partition(".")[0] not in OURS:
        return "" if importlib.util.find_spec(name) else f"no module {name}"
    path = ROOT / name.replace(".", "/")
    if not path.is_dir() and not path.with_suffix(".py").exists():
        return f"no module {name}"
    module = importlib.import_module(f"{name}.__main__" if path.is_dir() else name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_and_end)
        patch.setattr(sys, "argv", [name, *arguments])
        module.main()
    return f"{name} takes no arguments" if arguments else ""


def parse_and_end(parser: argparse.ArgumentParser) -> None:
    """In place of `parse_args`."""
    _, unknown = parser.parse_known_args(sys.argv[1:])
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    raise Understood


def dvc(words: list[str]) -> str:
    """Subcommands, options and, for `-S`, parameters."""
    arguments = get_main_parser().parse_args(words)
    params = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
    for override in getattr(arguments, "set_param", None) or []:
        value: Any = params
        for key in override.partition("=")[0].split("."):
            if key not in value:
                return f"params.yaml has no {override}"
            value = value[key]
    return ""


def git(words: list[str]) -> str:
    """Subcommands."""
    command = ["git", "--list-cmds=main"]
    known = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return "" if words[0] in known else f"git has no {words[0]}"


def gto_(words: list[str]) -> str:
    """Subcommands and options."""
    context = gto.cli.app.make_context("gto", list(words))
    name, command, rest = gto.cli.app.resolve_command(context, words)
    if command:
        command.make_context(name, rest)
    return ""


def pip(words: list[str]) -> str:
    """The files after `-r`."""
    files = [word for before, word in pairwise(words) if before == "-r"]
    missing = [name for name in files if not (ROOT / name).exists()]
    return f"no file {missing}" if missing else ""


def torchrun(words: list[str]) -> str:
    """Its options, and those of DVC after `-m tools.distributed`."""
    arguments = get_args_parser().parse_args(words)
    if arguments.training_script != "tools.distributed":
        return "the pages start only tools.distributed with it"
    return dvc(arguments.training_script_args or ["repro"])


CHECKS: dict[str, Callable[[list[str]], str]] = {
    "dvc": dvc, "git": git, "gto": gto_, "make": make, "pip": pip, "python": python,
    "torchrun": torchrun,
}  # fmt: skip
