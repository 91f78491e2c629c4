import sys
from collections.abc import Iterable
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import stages
from tests.support import runner
from tests.support.requirements import OF_CUDA, listed

RANGES = {"torch", "torchvision"}  # so that their CPU-only and their CUDA builds both fit
FILES = {path.name for path in runner.ROOT.glob("requirements*.txt")}
each_installed = pytest.mark.parametrize("name", sorted(FILES - {"requirements-s3.txt"}))


def for_this_system(name: str) -> dict[str, Requirement]:
    """The lines of a requirements file that pip does not leave out here."""
    return {
        package: requirement
        for package, requirement in listed(name).items()
        if not requirement.marker or requirement.marker.evaluate()
    }


def needed(roots: Iterable[Requirement]) -> set[str]:
    """The names of some packages and of all that they need on this machine."""
    pending = [(root, extra) for root in roots for extra in {"", *root.extras}]
    found: set[tuple[str, str]] = set()  # name, extra
    while pending:
        requirement, extra = pending.pop()
        name = canonicalize_name(requirement.name)
        if (name, extra) in found or OF_CUDA.match(name):
            continue
        found.add((name, extra))
        for further in map(Requirement, metadata.requires(name) or []):
            if not further.marker or further.marker.evaluate({"extra": extra}):
                pending += [(further, each) for each in {"", *further.extras}]
    return {name for name, _ in found}


@each_installed
def test_all_that_is_needed_is_listed(name: str) -> None:
    requirements = for_this_system(name)
    assert needed(requirements.values()) - requirements.keys() == set()


@each_installed
def test_what_is_installed_is_what_is_listed(name: str) -> None:
    for package, requirement in for_this_system(name).items():
        installed = metadata.version(package)
        if package in RANGES:
            assert installed in requirement.specifier
            assert "+" not in str(requirement.specifier)  # 2.13.0+cpu is not on every index
        else:
            assert str(requirement.specifier) == f"=={installed}"


def test_a_stage_checks_for_every_package_that_is_imported() -> None:
    imported = {
        name.partition(".")[0] for source in runner.SOURCES for name in runner.imported(source)
    }
    comes_with_pydantic = {"pydantic_core"}
    third_party = imported - sys.stdlib_module_names - {"stages"} - comes_with_pydantic
    assert third_party == set(stages.REQUIRED)
