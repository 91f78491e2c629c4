"""The recipes, and how the benchmarks calculate."""

import shutil
from pathlib import Path

import pytest

from benchmarks import fresh, recipes, speed
from benchmarks.measure import Run
from tests.support.runner import ROOT
from tools.dvc_files import Pipeline
from tools.validate import mistakes
from tools.yaml_files import set_values

RECIPES = [path.name for path in (ROOT / "recipes").iterdir()]


def run(*ends: float) -> Run:
    """A run that trained, with the seconds from its start to the end of each epoch."""
    return Run("", 0, ends[-1], 0, 0, ends, accuracies=[0.98, 0.99])


def cells(table: str) -> list[list[str]]:
    """The rows of a table, without its header."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_sets_keys_of_params_yaml_to_allowed_values(recipe: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    shutil.copy(ROOT / "params.yaml", path)
    set_values(path, recipes.read(recipe))
    assert path.read_text() != (ROOT / "params.yaml").read_text()
    pipeline = Pipeline.parse((ROOT / "dvc.yaml").read_bytes())
    assert list(mistakes(pipeline, tmp_path)) == []  # an unknown key is one


def test_a_curve_has_the_median_time_of_each_epoch() -> None:
    points = speed.curve([run(2, 4), run(3, 9), run(4, 5)])
    assert points == [(3, 0.98), (5, 0.99)]
    assert [speed.time_to(goal, points) for goal in (0.99, 0.991)] == ["5.0 s", "-"]


def test_the_first_epoch_counts_as_the_others_and_a_ratio_stays_in_a_turn() -> None:
    slow, fast = (
        [run(*ends).all_epochs() for ends in turns]
        for turns in ([(9, 13), (9, 17)], [(9, 10), (9, 11)])
    )
    assert slow == [8, 16]
    assert speed.ratios(slow, fast) == [4, 4]


def test_a_goal_is_met_at_its_bound_and_not_beyond() -> None:
    assert speed.goal("fast", [1, 2, 3], "s", speed.MOST, 2) == [
        "fast", "2.00 s", "1.00 - 3.00", "at most 2 s", "yes",
    ]  # fmt: skip
    assert speed.goal("fast", [2.1], "s", speed.MOST, 2)[-1] == "no"
    assert speed.goal("small", [705], "MB", speed.LEAST, 705)[-1] == "yes"
    assert speed.goal("small", [704], "MB", speed.LEAST, 705)[-1] == "no"


def test_the_parts_of_a_first_run_add_up() -> None:
    assert cells(fresh.parts({fresh.INSTALL: 40.0, "download": 2.0, "train": 20.0}))[1:] == [
        ["download", "2.0 s", "3 %"],
        ["train", "20.0 s", "32 %"],
        ["all", "62.0 s", "100 %"],
    ]
