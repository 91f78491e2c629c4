"""`make` on tiny data: a recipe as an experiment, running all again, a mistake, the help."""

import pytest

from tests.support import posix
from tests.support.parts import needs
from tests.support.project import Project, make_command, stages_in
from tests.support.runner import digests
from tools.yaml_files import flatten, parse_yaml

pytestmark = posix.only  # make and its shell


def results(project: Project) -> dict[str, str]:
    """The digests of all that the stages have written."""
    parts = ("data/", "models/", "metrics/", "dvc.lock")
    return {
        name: digest for name, digest in digests(project.folder).items() if name.startswith(parts)
    }


@needs("recipes")
def test_a_recipe_is_an_experiment_with_its_values_that_replaces_no_other(project: Project) -> None:
    recipe = (project.folder / "recipes/tuned").read_text()
    values = parse_yaml(recipe.replace("=", ": ").encode())
    assert values["train.augment.degrees"] == 10
    before = flatten(parse_yaml((project.folder / "params.yaml").read_bytes()))
    project.make("tuned")
    commit = project.experiment("tuned")
    params = parse_yaml(project("git", "show", f"{commit}:params.yaml").encode())
    assert flatten(params) == before | values
    changed = project("git", "diff", "--name-only", "HEAD", commit).split()
    assert {"dvc.lock", "metrics/history.csv", "metrics/metrics.json"} <= set(changed)
    assert project("git", "status", "--short") == ""

    again = project.run(*make_command("tuned"))  # the name is taken
    assert again.returncode != 0
    assert "Running stage" not in again.stdout
    assert project.experiment("tuned") == commit


@pytest.mark.slow
def test_clean_and_rerun_start_from_nothing_and_give_the_same_bytes_with_one_worker(
    project: Project,
) -> None:
    for name in (".venv", ".ruff_cache", "stages/__pycache__"):
        (project.folder / name).mkdir(exist_ok=True)
        (project.folder / name / "file").touch()
    process = project.run(*make_command("clean", "rerun"), PIPELINE_WORKERS="1")
    assert process.returncode == 0, process.stdout
    assert not list(project.folder.glob(".venv")) + list(project.folder.glob(".ruff_cache"))
    assert stages_in(process.stdout) == ["download", "train", "evaluate", "plot"]
    assert "workers: 1" in process.stdout
    assert project("git", "status", "--short") == ""


@pytest.mark.parametrize("target", ["repro", "rerun"])
def test_a_mistake_in_params_yaml_costs_nothing(project: Project, target: str) -> None:
    project.set_param("train", "lr", -1)
    project.set_param("plot", "dpi", 10)
    before = results(project)
    process = project.run(*make_command(target))
    assert process.returncode != 0
    for mistake in ("train.lr: must be greater than 0", "plot.dpi: must be greater than or equal"):
        assert f"params.yaml: {mistake}" in process.stdout
    assert results(project) == before


def test_help_lists_every_target_for_people(project: Project) -> None:
    makefile = (project.folder / "Makefile").read_text()
    (phony,) = [line for line in makefile.splitlines() if line.startswith(".PHONY:")]
    lines = project("make", "help").splitlines()
    assert [line.split()[0] for line in lines] == phony.split()[1:]
    assert all(len(line) <= 100 for line in lines)
