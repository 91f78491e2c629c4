import sys
from collections.abc import Iterable
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import stages
from tests.support import runner
from tests.support.requirements import OF_CUDA, for_this_system, listed

RANGES = {"torch", "torchvision"}  # so that their CPU-only and their CUDA builds both fit


def needed(roots: Iterable[Requirement]) -> set[str]:
    """The names of some packages and of all that they need on this machine."""
    pending = list(roots)
    found: set[tuple[str, str]] = set()  # name, extra
    while pending:
        requirement = pending.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras} - {extra for seen, extra in found if seen == name}:
            found.add((name, extra))
            pending += [
                further
                for further in map(Requirement, metadata.requires(name) or [])
                if not OF_CUDA.match(further.name)
                and (not further.marker or further.marker.evaluate({"extra": extra}))
            ]
    return {name for name, _ in found}


FILES = sorted(path.name for path in runner.ROOT.glob("requirements*.txt"))
each_installed = pytest.mark.parametrize(
    "name", [name for name in FILES if name != "requirements-s3.txt"]
)


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
        else:
            assert str(requirement.specifier) == f"=={installed}"


@pytest.mark.parametrize("name", FILES)
def test_every_package_index_has_what_is_listed(name: str) -> None:
    for requirement in listed(name).values():
        assert requirement.url is None
        assert "+" not in str(requirement.specifier)  # a local version, as 2.13.0+cpu is


def test_a_stage_checks_for_every_package_that_is_imported() -> None:
    imported = {
        name.partition(".")[0] for source in runner.SOURCES for name in runner.imported(source)
    }
    comes_with_pydantic = {"pydantic_core"}
    third_party = imported - sys.stdlib_module_names - {"stages"} - comes_with_pydantic
    assert third_party == set(stages.REQUIRED)
