"""The evidence of a revision, read through git: no cache, no remote, no checkout."""

import hashlib
import io
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, FiniteFloat, TypeAdapter
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.common.errors import UserError
from stages.common.mnist import CLASSES

WORKSPACE = "workspace"
DATA = "data/MNIST/raw"
MODEL = "models/model.safetensors"
LOCK, PARAMS, REQUIREMENTS = "dvc.lock", "params.yaml", "requirements.txt"
METRICS, PREDICTIONS = "metrics/metrics.json", "metrics/predictions.csv"
PREDICTION_COLUMNS = {"index": int, "label": int, "predicted": int, "confidence": float}
ACCURACY, PER_DIGIT = "test.accuracy", "per_digit."  # in metrics.json

Parsed = TypeVar("Parsed")
Table = npt.NDArray[np.void]  # (rows,), a field a column


@dataclass(frozen=True)
class Revision:
    """What the user named, and the commit that it is."""

    name: str
    commit: str | None  # 40 hexadecimal digits; None is the workspace

    def __str__(self) -> str:
        """`main (a2615cf)`."""
        if self.commit is None:
            return self.name
        short = self.commit[:7]
        return short if self.commit.startswith(self.name) else f"{self.name} ({short})"


@dataclass(frozen=True)
class Evidence:
    """What a revision's run used, and what came out."""

    revision: Revision
    params: dict[str, Any]  # `train.lr`: 0.001; those of the run, as dvc.lock has them
    metrics: dict[str, float]  # `test.loss`: 0.06
    predictions: Table  # a row a test image
    digests: dict[str, str]  # of what the stages wrote, by path
    code: dict[str, str]  # digest of each source file that ran, and the command of each stage
    requirements: dict[str, str]  # package: versions
    stale: list[str]  # files and params that are not those that dvc.lock was made from


class _File(BaseModel):
    """A dependency or an output of a stage in dvc.lock."""

    path: str
    md5: str


class _Stage(BaseModel):
    """A stage in dvc.lock."""

    cmd: str
    deps: list[_File] = []
    params: dict[str, dict[str, Any]] = {}  # by the file that holds them
    outs: list[_File] = []

    def flat_params(self) -> dict[str, Any]:
        """`train.lr`: 0.001."""
        return flatten(self.params.get(PARAMS, {}))


class _Lock(BaseModel):
    """What is used here of dvc.lock."""

    stages: dict[str, _Stage]


_GROUPS = TypeAdapter(dict[str, Any])
_NUMBERS = TypeAdapter(dict[str, FiniteFloat])


def resolve(name: str) -> Revision:
    """The workspace, a git revision, or an experiment of DVC, in this order.

    Experiments are commits that DVC keeps as refs/exps/AB/CDEF.../NAME, where ABCDEF... is the
    commit that they started from. Of several with one name, the one that started from HEAD is
    meant, as for DVC.

    Raises:
        UserError: there is no such revision, more than one, or no repository.
    """
    if name == WORKSPACE:
        return Revision(name, None)
    references = _git("for-each-ref", "--format=%(objectname) %(refname)", "refs/exps/??/*/*")
    commit = _commit(name)
    if commit:
        return Revision(name, commit)
    parts = (re.split("[ /]", line) for line in references.decode().splitlines())
    experiments = {  # by the commit that they started from
        start + rest: commit for commit, _, _, start, rest, found in parts if found == name
    }
    if not experiments:
        raise UserError(
            f"{name!r} is neither a git revision nor an experiment; `git branch --all` and"
            " `dvc exp list --all-commits` list them"
        )
    started = _commit("HEAD") if len(experiments) > 1 else next(iter(experiments))
    if started not in experiments:
        commits = " or ".join(commit[:7] for commit in experiments.values())
        raise UserError(f"{name}: {len(experiments)} experiments have this name; say {commits}")
    return Revision(name, experiments[started])


def load(revision: Revision) -> Evidence:
    """The evidence that git (or the workspace) holds.

    Raises:
        UserError: a file is missing or is not what it should be.
    """
    files = read(revision, [LOCK, PARAMS, REQUIREMENTS, METRICS, PREDICTIONS])
    lock = _parse(_lock, files[LOCK], LOCK, revision)
    params = _parse(_params, files[PARAMS], PARAMS, revision)
    stages = lock.stages.items()
    ran = {key: value for _, stage in stages for key, value in stage.flat_params().items()}
    digests = {file.path: file.md5 for _, stage in stages for file in stage.outs}
    inputs = {file.path: file.md5 for _, stage in stages for file in stage.deps}
    code = {path: md5 for path, md5 in inputs.items() if path not in digests}
    commands = {f"command of the stage {name}": stage.cmd for name, stage in stages}

    now = {path: md5(content) for path, content in (files | find(revision, list(code))).items()}
    recorded = code | {path: digests.get(path) for path in (METRICS, PREDICTIONS)}
    stale = [path for path, digest in recorded.items() if now.get(path) != digest]
    stale += [key for key in params | ran if params.get(key) != ran.get(key)]
    return Evidence(
        revision=revision,
        params=ran,
        metrics=_parse(_metrics, files[METRICS], METRICS, revision),
        predictions=_parse(_predictions, files[PREDICTIONS], PREDICTIONS, revision),
        digests=digests,
        code=code | commands,
        requirements=_parse(_requirements, files[REQUIREMENTS], REQUIREMENTS, revision),
        stale=stale,
    )


def read(revision: Revision, paths: Sequence[str]) -> dict[str, bytes]:
    """The content of each file, by its path from the current folder.

    Raises:
        UserError: some are missing; the message names them and says how to make them.
    """
    files = find(revision, paths)
    missing = [path for path in paths if path not in files]
    if missing:
        raise UserError(f"{revision} lacks {', '.join(missing)}; {_remedy(revision)}")
    return files


def find(revision: Revision, paths: Sequence[str]) -> dict[str, bytes]:
    """The content of those of the files that there are."""
    if revision.commit is not None:
        return _find_in_commit(revision.commit, paths)
    return {path: Path(path).read_bytes() for path in paths if Path(path).is_file()}


def read_table(revision: Revision, path: str, columns: Mapping[str, type]) -> Table:
    """A CSV file with these columns, perhaps among others, and at least one row.

    Raises:
        UserError: it is missing or something else.
    """
    content = read(revision, [path])[path]
    return _parse(lambda content: parse_table(content, columns), content, path, revision)


def parse_table(content: bytes, columns: Mapping[str, type]) -> Table:
    """These columns of a CSV table. It may have others: a later revision writes more.

    Raises:
        ValueError: it lacks one, or has no row, or a value of another type.
    """
    header, *rows = content.decode().splitlines() or [""]
    names = header.split(",")
    if missing := [name for name in columns if name not in names]:
        raise ValueError(f"its first line lacks {', '.join(missing)}")
    if not rows:
        raise ValueError("no rows")
    places = [names.index(name) for name in columns]
    kinds = np.dtype(list(columns.items()))
    return np.loadtxt(rows, kinds, delimiter=",", usecols=places, ndmin=1)


def flatten(groups: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"train": {"lr": 0.1}}` as `{"train.lr": 0.1}`."""
    flat: dict[str, Any] = {}
    for key, value in groups.items():
        flat |= (
            flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return flat


def _parse(
    parse: Callable[[bytes], Parsed], content: bytes, path: str, revision: Revision
) -> Parsed:
    """The content as `parse` reads it, or a line that says which file is damaged."""
    try:
        return parse(content)
    except (YAMLError, ValueError) as error:  # ValidationError and UnicodeDecodeError too
        reason = " ".join(str(error).split())
        raise UserError(
            f"{revision}: {path}: not as expected ({reason}); {_remedy(revision)}"
        ) from None


def _lock(content: bytes) -> _Lock:
    return _Lock.model_validate(_yaml(content))


def _params(content: bytes) -> dict[str, Any]:
    return flatten(_GROUPS.validate_python(_yaml(content)))


def _metrics(content: bytes) -> dict[str, float]:
    metrics = _NUMBERS.validate_python(flatten(_GROUPS.validate_json(content)))
    if ACCURACY not in metrics:
        raise ValueError(f"it has no {ACCURACY}")
    return metrics


def _predictions(content: bytes) -> Table:
    table = parse_table(content, PREDICTION_COLUMNS)
    if not np.array_equal(table["index"], np.arange(len(table))):
        raise ValueError("the indices are not 0, 1, 2, ...")
    if not np.isin([table["label"], table["predicted"]], range(CLASSES)).all():
        raise ValueError("a digit is not 0 to 9")
    return table


def _requirements(content: bytes) -> dict[str, str]:
    """`scipy==1.17.1` as `{"scipy": "==1.17.1"}`."""
    lines = (line.partition("#")[0].strip() for line in content.decode().splitlines())
    matches = (re.match(r"([\w.-]+)\s*(.*)", line) for line in lines)
    return {match[1]: match[2] for match in matches if match}


def _yaml(content: bytes) -> Any:  # noqa: ANN401 - whatever the file holds
    return YAML(typ="safe", pure=True).load(content.decode())


def md5(content: bytes) -> str:
    """The digest that DVC records. It tells versions apart; nobody has to be kept from forging."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _remedy(revision: Revision) -> str:
    if revision.commit is None:
        return "make it with `dvc repro`"
    return f"make it: `git checkout {revision.commit[:7]} && dvc repro`, and commit what came out"


def _commit(name: str) -> str:
    """The commit that git knows by this name; empty if there is none."""
    found = _run_git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    return "" if found.returncode else found.stdout.decode().strip()


def _find_in_commit(commit: str, paths: Sequence[str]) -> dict[str, bytes]:
    """The files that the commit has, all from one process. `git cat-file --batch` answers each
    name by a line that ends with the size, then the content and a newline; or by `... missing`."""
    names = "".join(f"{commit}:./{path}\n" for path in paths)
    answers = io.BytesIO(_git("cat-file", "--batch", stdin=names.encode()))
    files = {}
    for path in paths:
        answer = answers.readline().split()
        if answer[-1] != b"missing":
            files[path] = answers.read(int(answer[-1]))
            answers.readline()
    return files


def _git(*arguments: str, stdin: bytes = b"") -> bytes:
    process = _run_git(*arguments, stdin=stdin)
    if process.returncode:
        raise UserError(process.stderr.decode().strip().splitlines()[0])
    return process.stdout


def _run_git(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = ["git", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, check=False)
