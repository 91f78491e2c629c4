"""The requirements files, read."""

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.runner import ROOT


def listed(name: str) -> dict[str, Requirement]:
    """The lines of a requirements file, and of the one that it includes, by the package's name."""
    requirements: dict[str, Requirement] = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("-r "):
            requirements |= listed(line.removeprefix("-r "))
        elif line and not line.startswith("#"):
            requirement = Requirement(line)
            requirements[canonicalize_name(requirement.name)] = requirement
    return requirements
