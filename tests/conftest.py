"""Pin the arithmetic before any test makes a tensor, and let the tests start sooner."""

import gc

import pytest

from stages.model import numerics

UPDATE = """\
Tests with the mark `committed` failed: update the pages and results.
    make repro                         # the results
    git diff metrics                   # what is new in them
    git grep -n TEXT README.md docs    # where a page shows the old line, named above
    git add params.yaml dvc.lock metrics README.md docs
"""

numerics.pin()
gc.disable()  # until all tests are imported, which makes no garbage


def pytest_collection_finish() -> None:
    """What was imported stays until the end, so the garbage collector need not look at it again."""
    gc.freeze()
    gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What to do if the project is no longer what its pages and results say."""
    failed = terminalreporter.getreports("failed")
    if any("committed" in report.keywords for report in failed):
        terminalreporter.section("the project is not what its pages and committed results say")
        terminalreporter.write_line(UPDATE)
