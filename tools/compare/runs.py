"""What a revision's run used, and what came out: read from its files, with nothing run."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pandas as pd
from pydantic import FiniteFloat, TypeAdapter

from stages.common import mnist, tables
from stages.common.errors import UserError
from stages.common.tables import EpochScores, History, Prediction
from tools import git
from tools.dvc_files import (
    EPOCHS,
    HISTORY,
    LOCK,
    METRICS,
    MODEL,
    PREDICTIONS,
    Lock,
    Output,
    Pipeline,
    md5,
    name_params,
    read_pipeline,
)
from tools.git import REPAIR, REQUIREMENTS, Revision, find, parse, read
from tools.yaml_files import flatten, parse_values, parse_yaml

ACCURACY, LOSS, PER_DIGIT = "test.accuracy", "test.loss", "per_digit."  # in metrics.json
SEED = "train.seed"  # in params.yaml
RECIPE_STAGES = (MODEL.stage, METRICS.stage)  # no other stage changes a number, with the same data

_NUMBERS = TypeAdapter(dict[str, FiniteFloat])


@dataclass(frozen=True)
class Recipe:
    """What decides the numbers of a run, but the seed. Another chart, or another way to fetch the
    same data, is the same recipe."""

    params: dict[str, Any]  # `train.lr`: 0.001
    files: dict[str, str]  # the MD5 of code and data, by path
    commands: dict[str, str]  # by stage


@dataclass(frozen=True)
class Run:
    """What a revision's run used, and what came out."""

    revision: Revision
    pipeline: Pipeline
    params: dict[str, Any]  # `train.lr`: 0.001; those of the run, as dvc.lock has them
    metrics: dict[str, float]  # `test.loss`: 0.06
    predictions: pd.DataFrame  # the columns of Prediction; a row a test image
    epochs: pd.DataFrame  # the columns of EpochScores; a row an epoch
    digests: dict[str, str]  # of what the stages wrote, by path
    code: dict[str, str]  # digest of each source file that ran, and the command of each stage
    recipe: Recipe
    requirements: dict[str, str]  # package: versions
    stale: list[str]  # files and params that are not those that dvc.lock was made from
    unrecorded: list[str] = field(default_factory=list)  # results that are not those of dvc.lock
    cost: str = ""  # of the training
    parents: list[str] = field(default_factory=list)  # commits: two or more if it is a merge

    def path(self, output: Output) -> str:
        """Where an output is."""
        return self.pipeline.path(output)

    def digest(self, output: Output) -> str | None:
        """That of an output, if the run made it."""
        return self.digests.get(self.path(output))


@dataclass(frozen=True)
class Change:
    """A value on either side; None where there is none."""

    base: Any
    head: Any


def load(revision: Revision) -> Run:
    """The run whose files git (or the workspace) holds.

    Raises:
        UserError: a file is missing or is not what it should be.
    """
    pipeline, lock = read_pipeline(revision), git.load(revision, LOCK, Lock.parse)
    results = metrics, predictions, epochs = [*map(pipeline.path, (METRICS, PREDICTIONS, EPOCHS))]
    others = [path for path in pipeline.metrics_files if path != metrics]
    files = read(revision, [REQUIREMENTS, *results, *others])
    commands = {f"command of the stage {name}": stage.cmd for name, stage in lock.stages.items()}
    outputs = {path: lock.outputs.get(path, "") for path in pipeline.evidence}
    evidence = [path for path, digest in outputs.items() if not digest.endswith(".dir")]
    present = find(revision, [*lock.code, *lock.param_files, *evidence])
    pins = [content for path, content in present.items() if path.endswith(".txt")]
    digests = {path: md5(content) for path, content in present.items()}
    params = {
        file: pick(parse(revision, present, file, partial(parse_values, file), REPAIR), recorded)
        for file, recorded in lock.param_files.items()
        if file in present
    }
    scores = parse(revision, files, metrics, parse_metrics)
    for path in others:
        numbers = parse(revision, files, path, partial(parse_numbers, path))
        scores |= {f"{path}: {name}": number for name, number in numbers.items()}
    return Run(
        revision=revision,
        pipeline=pipeline,
        params=lock.params,
        metrics=scores,
        predictions=parse(revision, files, predictions, partial(tables.decode, Prediction)),
        epochs=parse(revision, files, epochs, partial(tables.decode, EpochScores)),
        digests=lock.outputs,
        code=lock.code | commands,
        recipe=recipe_of(lock),
        requirements=parse_requirements([files[REQUIREMENTS], *pins]),
        stale=[
            *(path for path, digest in lock.code.items() if digests.get(path) != digest),
            *differing(name_params(params), lock.params),
        ],
        unrecorded=[
            path for path in evidence if path in present and digests[path] != outputs[path]
        ],
        parents=git.parents(revision),
        cost=describe_cost(revision, pipeline, lock),
    )


def describe_cost(revision: Revision, pipeline: Pipeline, lock: Lock) -> str:
    """What the training takes, as its last row of history and the file of weights tell; empty if
    the history is not there."""
    path = pipeline.path(HISTORY)
    files = find(revision, [path])
    if path not in files:
        return ""
    last = parse(revision, files, path, partial(tables.decode, History)).iloc[-1]
    epochs, steps = int(last["epoch"]), int(last["step"])
    return (
        f"epochs {epochs}, steps an epoch {steps // epochs:,}, images a step"
        f" {lock.params.get('train.batch_size', '?')}, weights"
        f" {lock.sizes.get(pipeline.path(MODEL), 0) / 1000:.1f} kB"
    )


def recipe_of(lock: Lock) -> Recipe:
    """The recipe of the run that this dvc.lock records."""
    part = Lock(stages={name: lock.stages[name] for name in RECIPE_STAGES if name in lock.stages})
    return Recipe(
        params={name: value for name, value in part.params.items() if name != SEED},
        files=part.code,
        commands={name: stage.cmd for name, stage in part.stages.items()},
    )


def recipe_differences(first: Recipe, second: Recipe) -> list[str]:
    """The names of the params, files and stages that are not the same in both."""
    return [
        *differing(first.params, second.params),
        *differing(first.files, second.files),
        *(f"command of the stage {name}" for name in differing(first.commands, second.commands)),
    ]


def differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """The names whose values are not the same in both, in the order of `first`."""
    return [name for name in {**first, **second} if first.get(name) != second.get(name)]


def changes(base: Mapping[str, Any], head: Mapping[str, Any]) -> dict[str, Change]:
    """The values that differ, by their names."""
    return {name: Change(base.get(name), head.get(name)) for name in differing(base, head)}


def digit_metrics(names: Iterable[str]) -> list[str]:
    """The names of the metrics that are about a single digit."""
    return [name for name in names if name.startswith(PER_DIGIT)]


def check_labels(runs: Sequence[Run]) -> None:
    """All must have the same test images: the labels of the predictions, and the digests that the
    params pin.

    Raises:
        UserError: they have not.
    """
    first = runs[0]
    labels = first.predictions["label"]
    for other in runs:
        theirs = other.predictions["label"]
        if not labels.equals(theirs):
            raise UserError(
                f"not scored on the same test images: the labels of {first.revision}"
                f" ({len(labels):,}) and of {other.revision} ({len(theirs):,}) differ"
            )
        for key in (f"download.sha256.{name}" for name in mnist.FILES["test"]):
            pins = first.params.get(key), other.params.get(key)
            if pins[0] != pins[1]:
                raise UserError(
                    f"not scored on the same test images: {key} of {first.revision} is {pins[0]},"
                    f" of {other.revision} {pins[1]}"
                )


def pick(params: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Those that dvc.lock names: `train`, a group, or `train.lr`."""
    picked = {}
    for name in names:
        value: Any = params
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        picked[name] = value
    return picked


def parse_params(content: bytes) -> dict[str, Any]:
    """`train.lr`: 0.001."""
    return flatten(parse_yaml(content))


def parse_metrics(content: bytes) -> dict[str, float]:
    """`test.loss`: 0.06."""
    metrics = parse_numbers(".json", content)
    if ACCURACY not in metrics:
        raise ValueError(f"it has no {ACCURACY}")
    return metrics


def parse_numbers(path: str, content: bytes) -> dict[str, float]:
    """The same of any file of metrics."""
    return _NUMBERS.validate_python(flatten(parse_values(path, content)))


def parse_requirements(contents: Iterable[bytes]) -> dict[str, str]:
    """`scipy==1.17.1` as `{"scipy": "==1.17.1"}`. A line of another form is a name of its own."""
    text = b"\n".join(contents).decode(errors="replace")
    lines = (line.partition(" #")[0].strip() for line in text.splitlines())
    kept = [line for line in lines if line and not line.startswith("#")]
    matches = (re.match(r"(\w[\w.-]*)\s*([<>=!~].*)|.*", line) for line in kept)
    return {match[1] or match[0]: match[2] or "" for match in matches if match}
