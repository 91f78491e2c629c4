import sys
from importlib import metadata

import pytest

import stages
from tests.support import runner
from tests.support.requirements import listed

RANGES = {"torch", "torchvision"}  # so that their CPU-only and their CUDA builds both fit
FILES = {path.name for path in runner.ROOT.glob("requirements*.txt")}


@pytest.mark.parametrize("name", sorted(FILES - {"requirements-s3.txt"}))
def test_what_is_listed_is_pinned_and_installed(name: str) -> None:
    """That all is listed which is needed: tests/pipeline/test_platforms.py."""
    for package, requirement in listed(name).items():
        if not requirement.marker or requirement.marker.evaluate():
            assert metadata.version(package) in requirement.specifier
            assert package in RANGES or str(requirement.specifier).startswith("==")


def test_a_stage_checks_for_every_package_that_is_imported() -> None:
    imported = {
        name.partition(".")[0] for source in runner.SOURCES for name in runner.imported(source)
    }
    comes_with_pydantic = {"pydantic_core"}
    third_party = imported - sys.stdlib_module_names - {"stages"} - comes_with_pydantic
    assert third_party == set(stages.REQUIRED)
