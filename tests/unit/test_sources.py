"""What the sources may hold, and who may import whom."""

import ast
from pathlib import Path

import pytest

from tests.support import runner
from tests.support.runner import ROOT, SOURCES, imported

TOOLS = sorted((ROOT / "tools").rglob("*.py"))
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

FLOORS = ["benchmarks", "tools", "stages", "stages.training", "stages.model", "stages.common"]


def name(source: Path) -> str:
    """The path from the root of the repository, as in `tools/compare/seeds.py`."""
    return source.relative_to(ROOT).as_posix()


def importers(package: str) -> set[str]:
    """The files of stages/ and tools/ that import a package, but for those in it."""
    inside = package.replace(".", "/") + "/"
    return {
        name(source)
        for source in SOURCES + TOOLS
        if any(f"{module}.".startswith(f"{package}.") for module in imported(source))
        and not name(source).startswith(inside)
    }


def floor(module: str) -> int:
    """The number of the lowest package in FLOORS that a module is in."""
    return max(n for n, package in enumerate(FLOORS) if f"{module}.".startswith(f"{package}."))


@pytest.mark.parametrize(
    "text", ["pickle", "torch.load", "torch.save(", "yaml.load(", "shell=True", "except:"]
)
def test_no_file_can_run_code_and_no_error_is_swallowed(text: str) -> None:
    assert [path for path in SOURCES + TOOLS if text in path.read_text(encoding="utf-8")] == []


def test_common_never_loads_torch() -> None:
    """All its modules, in a new Python."""
    modules = [f"stages.common.{path.stem}" for path in (ROOT / "stages/common").glob("*.py")]
    process = runner.python(
        "-c", f"import sys, {', '.join(modules)}; print('torch' in sys.modules)"
    )
    assert process.stdout == "False\n", process.stderr


def test_training_is_imported_by_the_stage_and_by_the_tool_that_serves_it() -> None:
    """Benchmarks and tests may, too: nothing that users run depends on them."""
    assert importers("stages.training") == {"stages/train.py", "tools/distributed.py"}


@pytest.mark.parametrize("source", SOURCES + TOOLS, ids=name)
def test_imports_go_down(source: Path) -> None:
    for module in imported(source):
        if module.partition(".")[0] in FLOORS:
            assert floor(name(source).replace("/", ".")) <= floor(module), module


def test_no_test_imports_another_test() -> None:
    """What tests share is in tests/support, which imports none of them."""
    for source in TESTS:
        relative = [
            node
            for node in ast.walk(ast.parse(source.read_bytes()))
            if isinstance(node, ast.ImportFrom) and node.level
        ]
        assert relative == [], name(source)
        ours = {module for module in imported(source) if f"{module}.".startswith("tests.")}
        assert [module for module in ours if not module.startswith("tests.support")] == [], source
