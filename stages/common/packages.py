"""Are the packages that decide bytes those that the project says?

DVC records the file that says it, requirements-stages.txt, as part of what ran. So a stage runs
with these versions or not at all.
"""

import re
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

FILE = Path(__file__).parents[2] / "requirements-stages.txt"


@cache
def installed() -> dict[str, str | None]:
    """Each line of the file, `NAME==VERSION` or `NAME>=...`, and the version that is installed."""
    lines = FILE.read_text(encoding="utf-8").splitlines()
    return {
        line: _version(line.partition("=")[0].rstrip("<>"))
        for line in lines
        if line and not line.startswith("#")
    }


def _version(name: str) -> str | None:
    try:  # to have all of the metadata parsed, for `version`, takes twenty times as long
        metadata = distribution(name).read_text("METADATA") or ""
    except PackageNotFoundError:
        return None
    found = re.search("^Version: (.+)$", metadata, re.MULTILINE)
    return found[1] if found else None


def missing() -> list[str]:
    """The lines whose package is not installed."""
    return [line for line, found in installed().items() if found is None]


def refuse_others() -> None:
    """Exit with one line if a package is installed in another version."""
    from packaging.requirements import Requirement  # noqa: PLC0415 - may be missing, too

    others = [
        f"{line} (here: {found})"
        for line, found in installed().items()
        if found and found not in Requirement(line).specifier
    ]
    if others:
        sys.exit(
            f"{sys.executable} has other packages than {FILE.name} says: {', '.join(others)}."
            " They may change bytes. Install those with `make install`, or change the file"
        )
