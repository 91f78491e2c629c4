import ast
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.common import params
from stages.evaluate import HeldOutParams
from tests.support.runner import DVC, ROOT, STAGES, imported
from tools.dvc_files import Pipeline
from tools.validate import groups

GROUPS = groups(Pipeline.model_validate(DVC))
CLASSES: dict[str, type[params.Params]] = {
    **{group: models[0] for group, models in GROUPS.items()},
    "train.validation_size": HeldOutParams,
}

each_stage = pytest.mark.parametrize("stage", STAGES)


def sources(stage: str) -> set[Path]:
    """The files of this repository that a stage runs: its script and all that it imports."""
    found: set[Path] = set()
    pending = {ROOT / f"stages/{stage}.py"}
    while pending:
        source = pending.pop()
        found.add(source)
        pending |= {file for name in imported(source) for file in files(name)} - found
    return found


def files(name: str) -> Iterable[Path]:
    """`stages.common.files` runs stages/__init__.py, stages/common/__init__.py, ...files.py."""
    module = ROOT
    for part in name.split("."):
        module /= part
        yield from filter(Path.is_file, (module / "__init__.py", module.with_suffix(".py")))


def paths(stage: str, *keys: str) -> set[str]:
    """The paths under some keys of a stage; one with settings is a mapping from the path."""
    entries = [entry for key in keys for entry in STAGES[stage].get(key, [])]
    return {entry if isinstance(entry, str) else next(iter(entry)) for entry in entries}


def outputs(stage: str) -> set[str]:
    return paths(stage, "outs", "metrics", "plots")


def code(stage: str) -> set[str]:
    return {path for path in paths(stage, "deps") if path.endswith(".py")}


def inputs(stage: str) -> set[str]:
    """The files that the stages before this one write."""
    return paths(stage, "deps") - code(stage) - {"requirements-stages.txt"}


@each_stage
def test_a_stage_depends_on_the_code_that_it_runs(stage: str) -> None:
    assert code(stage) == {source.relative_to(ROOT).as_posix() for source in sources(stage)}


def test_train_alone_depends_on_the_package_training() -> None:
    """After a change there DVC runs train again. The other stages wait for new outputs of train."""
    assert {stage for stage in STAGES if any("/training/" in path for path in code(stage))} == {
        "train"
    }


@each_stage
def test_a_command_names_its_module_and_every_path(stage: str) -> None:
    command = STAGES[stage]["cmd"]
    assert "${" not in command  # DVC would paste a parameter into the shell
    python, option, module, *arguments = command.split()
    assert (python, option, module) == ("python", "-m", f"stages.{stage}")
    kept = {".progress"} if stage == "train" else set()  # neither an input nor an output
    assert sorted(arguments) == sorted(inputs(stage) | outputs(stage) | kept)


@each_stage
def test_a_stage_declares_the_groups_of_params_that_it_loads(stage: str) -> None:
    calls = [
        node
        for source in sources(stage)
        for node in ast.walk(ast.parse(source.read_bytes()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "params.load"
    ]
    loaded = {ast.literal_eval(call.args[1]): ast.unparse(call.args[2]) for call in calls}
    assert loaded == {
        name.partition(".")[0]: CLASSES[name].__name__ for name in STAGES[stage]["params"]
    }


def test_git_makes_no_results_from_parts_of_two() -> None:
    made = [path for stage in STAGES for path in paths(stage, "metrics", "plots")]
    question = ["git", "check-attr", "merge", "dvc.lock", "metrics/plots/mistakes.png", *made]
    answers = subprocess.check_output(question, cwd=ROOT, text=True).splitlines()
    assert [answer for answer in answers if not answer.endswith(": merge: unset")] == []


def test_every_input_is_an_output_of_another_stage() -> None:
    made = set().union(*map(outputs, STAGES))
    for stage in STAGES:
        assert inputs(stage) <= made
    assert {artifact["path"] for artifact in DVC["artifacts"].values()} <= made
    shown = [plot["y"] for chart in DVC["plots"] for plot in chart.values()]
    assert {path for y in shown for path in y} <= made


def test_params_hold_the_groups_of_the_stages_and_evaluate_reads_one_key_of_train() -> None:
    """That a group holds the keys of its class: test_params loads each of them."""
    content: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
    assert content.keys() == GROUPS.keys()
    assert list(HeldOutParams.model_fields) == ["validation_size"]
