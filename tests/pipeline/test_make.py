"""`make` on tiny data: the recipes as experiments, and running all again."""

import pytest
from ruamel.yaml import YAML

from benchmarks import recipes
from tests.support import posix
from tests.support.project import Project, make_command
from tests.support.runner import digests
from tools.yaml_files import set_values

pytestmark = posix.only  # make and its shell


def test_a_recipe_is_an_experiment_that_replaces_no_other(project: Project) -> None:
    project.make("sprint")
    find = ("git", "for-each-ref", "--format=%(objectname)", "refs/exps/*/*/sprint")
    (experiment,) = project(*find).splitlines()
    assert project("git", "status", "--short") == ""
    again = project.run(*make_command("sprint"))
    assert again.returncode != 0
    assert "Running stage" not in again.stdout
    assert project(*find).splitlines() == [experiment]

    set_values(project.folder / "params.yaml", recipes.read("sprint"))
    parse = YAML(typ="safe").load
    params = parse(project("git", "show", f"{experiment}:params.yaml"))
    assert params == parse((project.folder / "params.yaml").read_text())


@pytest.mark.slow
def test_clean_and_rerun_start_from_nothing(project: Project) -> None:
    for name in (".venv", ".ruff_cache", "stages/__pycache__"):
        (project.folder / name).mkdir(exist_ok=True)
        (project.folder / name / "file").touch()
    output = project.make("clean", "rerun")
    assert not list(project.folder.glob(".venv")) + list(project.folder.glob(".ruff_cache"))
    stages = [line.split("'")[1] for line in output.splitlines() if line.startswith("Running")]
    assert stages == ["download", "train", "evaluate", "plot"]
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


def results(project: Project) -> dict[str, str]:
    """The digests of all that the stages have written."""
    parts = ("data/", "models/", "metrics/", "dvc.lock")
    return {
        name: digest for name, digest in digests(project.folder).items() if name.startswith(parts)
    }


def test_help_lists_every_target_for_people(project: Project) -> None:
    makefile = (project.folder / "Makefile").read_text()
    (phony,) = [line for line in makefile.splitlines() if line.startswith(".PHONY:")]
    lines = project("make", "help").splitlines()
    assert [line.split()[0] for line in lines] == phony.split()[1:]
    assert all(len(line) <= 100 for line in lines)
