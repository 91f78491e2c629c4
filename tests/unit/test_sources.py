"""Who may import whom."""

from pathlib import Path

import pytest

from tests.support.runner import ROOT, SOURCES, imported

TOOLS = sorted((ROOT / "tools").rglob("*.py"))
FLOORS = ["benchmarks", "tools", "stages", "stages.training", "stages.model", "stages.common"]


def floor(module: str) -> int:
    """The number of the lowest package in FLOORS that a module is in."""
    return max(n for n, package in enumerate(FLOORS) if f"{module}.".startswith(f"{package}."))


def name(source: Path) -> str:
    return source.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")


@pytest.mark.parametrize("source", SOURCES + TOOLS, ids=name)
def test_imports_go_down(source: Path) -> None:
    for module in imported(source):
        if module.partition(".")[0] in FLOORS:
            assert floor(name(source)) <= floor(module), module
