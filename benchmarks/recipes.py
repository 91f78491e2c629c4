"""The recipes: the files of the folder recipes/.

Each line `key=value` is an override of params.yaml, as `dvc exp run -S` takes it. Other lines are
comments.
"""

from typing import Any

from ruamel.yaml import YAML

from benchmarks.measure import ROOT

SPRINT, TUNED = "sprint", "tuned"


def read(recipe: str) -> dict[str, Any]:
    """The overrides of a recipe, as in `{"train.epochs": 2}`."""
    lines = (ROOT / "recipes" / recipe).read_text(encoding="utf-8").splitlines()
    pairs = (line.split("=") for line in lines if line[:1].isalpha())
    return {key: YAML(typ="safe", pure=True).load(value) for key, value in pairs}
