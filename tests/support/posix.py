"""What only POSIX systems have, or only Linux. On another system a test that needs it is skipped,
with the reason. mypy, too, looks at `sys.platform`."""

import sys

import pytest

only = pytest.mark.skipif(
    sys.platform == "win32", reason="needs POSIX: its signals, permissions, links or messages"
)
only_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="needs Linux: /proc, mount, setpriv"
)
