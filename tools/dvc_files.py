"""What DVC knows of a revision: where its outputs are (dvc.yaml), what they were (dvc.lock).

No tool repeats a path of the pipeline. It reads it from the dvc.yaml of the revision it looks at.
"""

import hashlib
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from pydantic import BaseModel

from stages.common.errors import UserError
from tools.git import PARAMS, PIPELINE, WORKSPACE, Revision, load
from tools.yaml_files import flatten, parse_yaml

LOCK = "dvc.lock"


class Output(NamedTuple):
    """Something that the pipeline writes: by which stage, and how dvc.yaml declares it."""

    stage: str
    kind: Literal["outs", "metrics", "plots"]
    ending: str = ""  # of its path, where the stage has several of that kind


DATA = Output("download", "outs")  # the folder with the MNIST files
MODEL = Output("train", "outs", ".safetensors")
HISTORY = Output("train", "plots")
METRICS = Output("evaluate", "metrics")
PREDICTIONS = Output("evaluate", "plots", "predictions.csv")
EPOCHS = Output("evaluate", "plots", "epochs.csv")
PICTURES = Output("plot", "plots")  # the folder with the pictures


class _File(BaseModel):
    """A YAML file. Of what it holds, only the keys that are declared here are used."""

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """The file with this content.

        Raises:
            YAMLError, ValueError: the content is something else.
        """
        return cls.model_validate(parse_yaml(content))


class _Stage(BaseModel):
    """A stage in dvc.yaml. An output with settings is a mapping from its path."""

    cmd: str
    outs: list[str | dict[str, Any]] = []
    metrics: list[str | dict[str, Any]] = []
    plots: list[str | dict[str, Any]] = []
    frozen: bool = False  # DVC never runs it


class Pipeline(_File):
    """dvc.yaml."""

    stages: dict[str, _Stage]

    def path(self, output: Output) -> str:
        """Where an output is, from the folder of dvc.yaml.

        Raises:
            UserError: dvc.yaml names none or several such outputs.
        """
        entries = getattr(self.stages.get(output.stage), output.kind, [])
        paths = [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]
        found = [path for path in paths if path.endswith(output.ending)]
        if len(found) != 1:
            raise UserError(
                f"{PIPELINE}: stages.{output.stage}.{output.kind}: must name one path that ends in"
                f" {output.ending!r} (has {', '.join(paths) or 'none'})"
            )
        return found[0]

    def outputs(self) -> list[str]:
        """The paths of all outputs."""
        stages = self.stages.values()
        entries = (entry for one in stages for entry in (*one.outs, *one.metrics, *one.plots))
        return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]

    def command(self, stage: str) -> list[str]:
        """The arguments of `python` in the command of a stage."""
        return self.stages[stage].cmd.split()[1:]


def read_pipeline(revision: Revision) -> Pipeline:
    """The pipeline of a revision.

    Raises:
        UserError: dvc.yaml is missing or damaged.
    """
    return load(revision, PIPELINE, Pipeline.parse)


def locate(output: Output) -> Path:
    """Where an output is in the workspace.

    Raises:
        UserError: dvc.yaml does not say.
    """
    return Path(read_pipeline(WORKSPACE).path(output))


class _LockedFile(BaseModel):
    path: str
    md5: str


class _LockedStage(BaseModel):
    """A stage in dvc.lock: what its last run used and gave."""

    cmd: str
    deps: list[_LockedFile] = []
    params: dict[str, dict[str, Any]] = {}  # by the file that holds them
    outs: list[_LockedFile] = []


class Lock(_File):
    """dvc.lock."""

    stages: dict[str, _LockedStage]

    @property
    def outputs(self) -> dict[str, str]:
        """The MD5 of each output, by its path."""
        return {file.path: file.md5 for stage in self.stages.values() for file in stage.outs}

    @property
    def code(self) -> dict[str, str]:
        """The MD5 of each file that a stage depends on and that no stage writes, by its path."""
        inputs = {file.path: file.md5 for stage in self.stages.values() for file in stage.deps}
        return {path: digest for path, digest in inputs.items() if path not in self.outputs}

    @property
    def params(self) -> dict[str, Any]:
        """The values of params.yaml that the stages ran with: `train.lr`: 0.001."""
        params: dict[str, Any] = {}
        for stage in self.stages.values():
            params |= flatten(stage.params.get(PARAMS, {}))
        return params


def md5(content: bytes) -> str:
    """The digest that DVC records. It tells versions apart and protects from no forger."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
