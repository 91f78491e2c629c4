"""What only POSIX systems have, or only Linux. On another system a test that needs it is skipped,
with the reason. mypy, too, looks at `sys.platform`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

only = pytest.mark.skipif(
    sys.platform == "win32", reason="needs POSIX: its signals, permissions, links or messages"
)
only_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="needs Linux: /proc, mount, setpriv"
)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """This process writes no file of more bytes, until the end of the `with`."""
    if sys.platform == "win32":
        pytest.skip("Windows has no limit on the size of a file")
    else:
        import resource  # noqa: PLC0415 - Windows lacks it

        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
