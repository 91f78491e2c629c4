import re
import sys
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support import runner
from tests.support.requirements import listed

RANGES = {"torch", "torchvision"}  # so that their CPU-only and their CUDA builds both fit
OF_CUDA = re.compile("nvidia-|cuda-|triton")
FILES = {path.name for path in runner.ROOT.glob("requirements*.txt")}


@pytest.mark.parametrize("name", sorted(FILES - {"requirements-s3.txt"}))
def test_what_is_listed_is_pinned_and_installed(name: str) -> None:
    """That all is listed which is needed: tests/pipeline/test_platforms.py."""
    for package, requirement in listed(name).items():
        if not requirement.marker or requirement.marker.evaluate():
            assert metadata.version(package) in requirement.specifier
            assert package in RANGES or str(requirement.specifier).startswith("==")


# They read params and answers, show bars and hold a lock. A wrong value of theirs ends a stage.
DECIDE_NO_BYTE = {
    "filelock",
    "packaging",
    "pydantic",
    "pydantic-core",
    "requests",
    "six",
    "ruamel-yaml",
    "tqdm",
}
ONLY_FOR_TORCH = {"typing-extensions", "sympy", "networkx", "jinja2", "fsspec", "setuptools"}


def test_what_decides_bytes_is_pinned_in_a_file_that_dvc_records() -> None:
    """All that the stages import, and what that needs in turn, but what decides no byte."""
    imported = {
        name.partition(".")[0] for source in runner.SOURCES for name in runner.imported(source)
    }
    providers = metadata.packages_distributions()
    pending = {
        canonicalize_name(distribution)
        for name in imported - sys.stdlib_module_names - {"stages"}
        for distribution in providers[name]
    }
    needed: set[str] = set()
    while pending := pending - needed - DECIDE_NO_BYTE - ONLY_FOR_TORCH:
        needed |= pending
        requirements = [
            Requirement(line) for name in pending for line in metadata.requires(name) or []
        ]
        pending = {
            canonicalize_name(requirement.name)
            for requirement in requirements
            if not requirement.marker or requirement.marker.evaluate({"extra": ""})
        }
    assert {name for name in needed if not OF_CUDA.match(name)} == {
        *listed("requirements-stages.txt")
    }
    for stage in ("train", "evaluate", "plot"):
        assert "requirements-stages.txt" in runner.STAGES[stage]["deps"]
