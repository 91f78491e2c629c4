"""Check all parameters, before DVC runs anything.

    python -m tools.validate

A stage checks its own group when it starts. By then DVC has removed the outputs of that stage, and
may have run the stages before it for minutes. Prints nothing if all is well; else a line for each
mistake, and exits with 1. What an unfinished merge has left in a file of the pipeline is one, too.
"""

import ast
import inspect
import re
from argparse import ArgumentParser
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from stages.common import params
from stages.common.errors import UserError, run
from tools.dvc_files import LOCK, Pipeline, read_pipeline
from tools.git import WORKSPACE, find, refuse_conflict


def main() -> None:
    """Read each group, and report all mistakes together."""
    ArgumentParser(
        prog="python -m tools.validate", description="Check all parameters of the pipeline."
    ).parse_args()
    pipeline = read_pipeline(WORKSPACE)
    params_files = {file for stage in pipeline.stages.values() for file in stage.params}
    for path, content in find(WORKSPACE, [*params_files, LOCK, *pipeline.evidence]).items():
        refuse_conflict(WORKSPACE, path, content)
    if found := dict.fromkeys(mistakes(pipeline, Path())):
        raise UserError("\n".join(found))


def mistakes(pipeline: Pipeline, folder: Path) -> Iterator[str]:
    """What each stage would say of its groups, or all of them of a file in this folder."""
    for group, models in groups(pipeline).items():
        for model in models:
            try:
                params.load(folder / pipeline.file_of(group), group, model)
            except UserError as error:
                yield str(error)


def groups(pipeline: Pipeline) -> dict[str, list[type[params.Params]]]:
    """The classes that read each group of parameters: those of each `params.load(path, "group",
    Class)` in a module that dvc.yaml runs with `python -m`."""
    found: dict[str, list[type[params.Params]]] = {}
    for stage in pipeline.stages.values():
        for name in re.findall(r"python -m (\S+)", stage.cmd):
            module = import_module(name)
            for call in ast.walk(ast.parse(inspect.getsource(module))):
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "params.load":
                    _, group, model = call.args
                    classes = found.setdefault(ast.literal_eval(group), [])
                    classes.append(vars(module)[ast.unparse(model)])
    return found


if __name__ == "__main__":
    run(main)
