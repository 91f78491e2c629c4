"""The machine that digests and times come from, in words. Nothing here imports torch."""

import os
import platform
import re
from pathlib import Path


def cpu() -> str:
    """`AMD EPYC, 2 cores`."""
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        info = ""
    model = re.search(r"^model name\s*: (.*)$", info, re.MULTILINE)
    return f"{model[1] if model else platform.processor()}, {os.cpu_count()} cores"


def system() -> str:
    """`Python 3.11.7, Linux x86_64`."""
    return f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
