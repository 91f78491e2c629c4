"""Read a group of params.yaml as a validated object, and report each mistake in one line."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML  # the parser that DVC uses: YAML 1.2, where 1e-3 is a float
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from stages.common import inputs
from stages.common.errors import UserError


class Params(BaseModel):
    """The base of all groups: every key is required, no other is allowed, no type is converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


Group = TypeVar("Group", bound=Params)


def load(path: Path, group: str, model: type[Group]) -> Group:
    """Read one group of the parameter file. It must be the same when the stage ends.

    Raises:
        UserError: one line a problem, each with the file, the key, the value and what is allowed.
    """

    def look() -> Group:
        return _load(path, group, model)

    loaded = look()
    inputs.remember(lambda: {f"{path}: {group}.{key}": value for key, value in look()})
    return loaded


def _load(path: Path, group: str, model: type[Group]) -> Group:
    values = _parse(path).get(group)
    if not isinstance(values, dict):
        raise UserError(f"{path}: {group}: missing; it must hold {', '.join(model.model_fields)}")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [f"{path}: {_describe(problem, group, model)}" for problem in error.errors()]
        raise UserError("\n".join(lines)) from None


def _parse(path: Path) -> dict[str, Any]:
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run from the folder that holds it") from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise UserError(f"{path}: line {line}: not valid YAML: {error.problem}") from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: must hold groups of keys, such as `train:` (got {content!r})")
    return content


def _describe(problem: ErrorDetails, group: str, model: type[Params]) -> str:
    """One of pydantic's errors as a line about the parameter file."""
    *outer, name = map(str, problem["loc"])
    key = ".".join([group, *outer, name])
    if problem["type"] == "missing":
        return f"{key}: missing key"
    if problem["type"] == "model_type":
        allowed = ", ".join(_inner(model, [*outer, name]).model_fields)
        return f"{key}: must hold {allowed} (got {problem['input']!r})"
    if problem["type"] == "extra_forbidden":
        suggestion = _suggestion(name, ".".join([group, *outer]), _inner(model, outer))
        return f"{key}: unknown key; {suggestion}"
    message = re.sub(r"^\w+ should", "must", problem["msg"].removeprefix("Value error, "))
    return f"{key}: {message} (got {problem['input']!r})"


def _inner(model: type[Params], names: Sequence[str]) -> type[Params]:
    """The class of a group within a group."""
    for name in names:
        model = cast(type[Params], model.model_fields[name].annotation)
    return model


def _suggestion(unknown: str, group: str, model: type[Params]) -> str:
    """The key that was probably meant: one with a similar name, or with a similar long name (its
    title)."""
    names = {name: name for name in model.model_fields}
    names |= {
        field.title.replace(" ", "_"): name
        for name, field in model.model_fields.items()
        if field.title
    }
    close = get_close_matches(unknown, names, n=1)
    return (
        f"did you mean {group}.{names[close[0]]}?"
        if close
        else f"allowed are {', '.join(model.model_fields)}"
    )
