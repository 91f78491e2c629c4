"""Pin the arithmetic before any test makes a tensor, and let the tests start sooner."""

import gc

from stages.model import numerics

numerics.pin()
gc.disable()  # until all tests are imported, which makes no garbage


def pytest_collection_finish() -> None:
    """What was imported stays until the end, so the garbage collector need not look at it again."""
    gc.freeze()
    gc.enable()
