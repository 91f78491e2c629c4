from pathlib import Path

import pytest
from ruamel.yaml import YAML

from benchmarks import recipes, speed, steps
from stages.common import params
from stages.model.network import Network, NetworkConfig
from stages.train import TrainParams
from tests.support.runner import ROOT

DEFAULT = params.load(ROOT / "params.yaml", "model", NetworkConfig)


def test_a_recipe_changes_its_keys_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "params.yaml"
    source = ROOT / "params.yaml"
    recipes.apply({"train.batch_size": 100, "train.augment.shear": 10}, source, target)
    yaml = YAML(typ="safe")
    expected = yaml.load(source)
    expected["train"]["batch_size"] = 100
    expected["train"]["augment"]["shear"] = 10
    assert yaml.load(target) == expected


def test_the_recipes_of_the_makefile_are_options_that_train_accepts(tmp_path: Path) -> None:
    assert recipes.read()["sprint"]["train.nesterov"] == "true"
    for overrides in recipes.read().values():
        recipes.apply(overrides, ROOT / "params.yaml", tmp_path / "params.yaml")
        params.load(tmp_path / "params.yaml", "train", TrainParams)


def test_a_recipe_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match="SLOW"):
        recipes.parse("SLOWER = -S train.epochs=20\n", "SLOW")


def test_continued_lines_belong_to_a_recipe_and_the_next_variable_does_not() -> None:
    makefile = "A = -S x=1 \\\n    -S y.z=5e-4\nB = -S w=2\n"
    assert recipes.parse(makefile, "A") == {"x": "1", "y.z": "5e-4"}


def run(start: float, ends: list[float]) -> speed.Run:
    return speed.Run("", start, ends[-1], 0, 0, ends)


def test_a_curve_has_the_median_time_of_each_epoch() -> None:
    runs = [run(0, [2, 4]), run(0, [3, 9]), run(0, [4, 5])]
    assert speed.curve(runs, [0.98, 0.99]) == [(3, 0.98), (5, 0.99)]
    assert speed.time_to(0.99, [(3, 0.98), (5, 0.99)]) == "5.0 s"
    assert speed.time_to(0.991, [(3, 0.98), (5, 0.99)]) == "-"


def test_training_counts_the_first_epoch_like_the_others_and_ratios_stay_in_a_repeat() -> None:
    fast, slow = [run(0, [9, 10]), run(0, [9, 11])], [run(0, [9, 13]), run(0, [9, 17])]
    assert speed.ratios({"a": slow, "b": fast}, speed.Run.training, "a", "b") == [4, 4]


def test_multiply_adds_of_the_default_network() -> None:
    assert steps.multiply_adds(Network(DEFAULT)) == (480_500, 817_000)


def test_a_stopwatch_adds_up_calls_by_name() -> None:
    watch = steps.Stopwatch()
    square = watch.around("square", lambda x: x * x)
    assert [square(2), square(x=3)] == [4, 9]
    lap = watch.lap()
    assert list(lap) == ["square"]
    assert lap["square"] > 0
    assert watch.lap() == {}
