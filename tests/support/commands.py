"""Whether the tool that a command names knows its words: the tool's own parser is asked."""

import argparse
import importlib
import io
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout

import pytest
from dvc.cli import DvcParserError
from dvc.cli.parser import get_main_parser
from torch.distributed.run import get_args_parser

from tests.support.runner import ROOT
from tools.yaml_files import flatten, parse_yaml

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))
VARIABLES = set(re.findall(r"^([A-Z]+) *\?=", MAKEFILE, re.MULTILINE))
PARAMS = flatten(parse_yaml((ROOT / "params.yaml").read_bytes()))
OURS = {"stages", "tools", "benchmarks", "tests"}


class Understood(BaseException):
    """A parser had no complaint; ends the program before it does anything."""


def complaint(words: list[str]) -> str:
    """What a tool has against a command, or ""; also if it is none of the tools in CHECKS."""
    check = CHECKS.get(words[0])
    if check is None:
        return ""
    output = io.StringIO()
    with redirect_stderr(output), redirect_stdout(output):
        try:
            return check(words[1:])
        except (SystemExit, DvcParserError) as error:
            return f"{output.getvalue()}{error}"
        except Understood:
            return ""


def make(words: list[str]) -> str:
    """Targets, and variables that may be set."""
    variables = {word.partition("=")[0] for word in words if "=" in word}
    unknown = {word for word in words if "=" not in word} - TARGETS | variables - VARIABLES
    return f"the Makefile has no {unknown}" if unknown else ""


def python(words: list[str]) -> str:
    """A module of ours, by its own parser."""
    if words[0] != "-m" or words[1].partition(".")[0] not in OURS:
        return ""
    name, *arguments = words[1:]
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


def torchrun(words: list[str]) -> str:
    """Its options, and those of the module that it starts."""
    arguments = get_args_parser().parse_args(words)
    return python(["-m", arguments.training_script, *arguments.training_script_args])


def dvc(words: list[str]) -> str:
    """Subcommands, options and, for `-S`, parameters."""
    changed = getattr(get_main_parser().parse_args(words), "set_param", None) or []
    unknown = {text.partition("=")[0] for text in changed} - PARAMS.keys()
    return f"params.yaml has no {unknown}" if unknown else ""


CHECKS: dict[str, Callable[[list[str]], str]] = {
    "dvc": dvc,
    "make": make,
    "python": python,
    "torchrun": torchrun,
}
