"""What DVC knows of a revision: where its outputs are (dvc.yaml), what they were (dvc.lock).

No tool repeats a path of the pipeline. It reads it from the dvc.yaml of the revision it looks at.
"""

import hashlib
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator

from stages.common.errors import UserError
from tools.git import PARAMS, PIPELINE, WORKSPACE, Revision, find, load, parse
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
METRICS = Output("evaluate", "metrics", "metrics.json")
PREDICTIONS = Output("evaluate", "plots", "predictions.csv")
EPOCHS = Output("evaluate", "plots", "epochs.csv")
PICTURES = Output("plot", "plots")  # the folder with the pictures


_Command = Annotated[  # DVC takes a list of them, too
    str, BeforeValidator(lambda cmd: "\n".join(map(str, cmd)) if isinstance(cmd, list) else cmd)
]
_Path = Annotated[  # with settings, it is a mapping from the path
    str, BeforeValidator(lambda path: next(iter(path), None) if isinstance(path, dict) else path)
]


def _by_file(params: object) -> object:
    """The names of parameters by their file. Those of params.yaml stand alone; no names are all."""
    if not isinstance(params, list):
        return params
    files: dict[object, list[object]] = {}
    for entry in params:
        for file, names in (entry if isinstance(entry, dict) else {PARAMS: [entry]}).items():
            files.setdefault(file, []).extend(names or [])
    return files


class _File(BaseModel):
    """A YAML file. Of what it holds, only the keys that are declared here are used."""

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """The file with this content.

        Raises:
            DAMAGED: the content is something else.
        """
        return cls.model_validate(parse_yaml(content))


class _Stage(BaseModel):
    """A stage in dvc.yaml."""

    cmd: _Command
    params: Annotated[dict[str, list[str]], BeforeValidator(_by_file)] = {}
    outs: list[_Path] = []
    metrics: list[_Path] = []
    plots: list[_Path] = []
    frozen: bool = False  # DVC never runs it


class Pipeline(_File):
    """dvc.yaml."""

    stages: dict[str, _Stage]
    metrics: list[_Path] = []  # beside the stages

    @property
    def metrics_files(self) -> list[str]:
        """Where all metrics are."""
        return [*chain(*(stage.metrics for stage in self.stages.values()), self.metrics)]

    @property
    def evidence(self) -> list[str]:
        """Where all metrics and plots are."""
        return [*self.metrics_files, *chain(*(stage.plots for stage in self.stages.values()))]

    def path(self, output: Output) -> str:
        """Where an output is, from the folder of dvc.yaml.

        Raises:
            UserError: dvc.yaml names none or several such outputs.
        """
        paths: list[str] = getattr(self.stages.get(output.stage), output.kind, [])
        found = [path for path in paths if path.endswith(output.ending)]
        if len(found) != 1:
            raise UserError(
                f"{PIPELINE}: stages.{output.stage}.{output.kind}: must name one path that ends in"
                f" {output.ending!r} (has {', '.join(paths) or 'none'})"
            )
        return found[0]

    def file_of(self, param: str) -> str:
        """The file that a stage reads a parameter from, such as `train.lr`, or a group of them."""
        files = (stage.params.items() for stage in self.stages.values())
        for file, names in chain(*files):
            if any(f"{param}.".startswith(f"{name}.") for name in names):
                return file
        return PARAMS

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
    size: int = 0  # bytes


class _LockedStage(BaseModel):
    """A stage in dvc.lock: what its last run used and gave."""

    cmd: _Command
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
    def sizes(self) -> dict[str, int]:
        """The bytes of each output, by its path."""
        return {file.path: file.size for stage in self.stages.values() for file in stage.outs}

    @property
    def code(self) -> dict[str, str]:
        """The MD5 of each file that a stage depends on and that no stage writes, by its path."""
        inputs = {file.path: file.md5 for stage in self.stages.values() for file in stage.deps}
        return {path: digest for path, digest in inputs.items() if path not in self.outputs}

    @property
    def param_files(self) -> dict[str, dict[str, Any]]:
        """What the stages ran with, by the file that held it, params.yaml first."""
        files: dict[str, dict[str, Any]] = {PARAMS: {}}
        for stage in self.stages.values():
            for file, params in stage.params.items():
                files.setdefault(file, {}).update(params)
        return dict(sorted(files.items(), key=lambda item: (item[0] != PARAMS, item[0])))

    @property
    def params(self) -> dict[str, Any]:
        """The values that the stages ran with: `train.lr`: 0.001."""
        return name_params(self.param_files)


def name_params(files: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The values in several files: `train.lr`: 0.001. So a parameter may move to another file and
    is still the same one. Where an earlier file has that name, too: `other.yaml:train.lr`, as DVC
    writes it."""
    params: dict[str, Any] = {}
    for file, content in files.items():
        params |= {
            f"{file}:{name}" if name in params else name: value
            for name, value in flatten(content).items()
        }
    return params


def check(content: bytes, path: str, revision: Revision = WORKSPACE) -> None:
    """Compare the content of an output with what dvc.lock says of it. After `git checkout` it may
    still be that of another branch. A file that dvc.lock does not name is not compared.

    Raises:
        UserError: it is another one.
    """
    lock = find(revision, [LOCK])
    recorded = parse(revision, lock, LOCK, Lock.parse).outputs if lock else {}
    if recorded.get(path, digest := md5(content)) != digest:
        raise UserError(
            f"{path}: not the file that {LOCK} of {revision} names; run `dvc checkout`"
            " (or `dvc repro`, if you have changed it yourself)"
        )


def md5(content: bytes) -> str:
    """The digest that DVC records. It tells versions apart and protects from no forger."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
