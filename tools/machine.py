"""The machine that digests and times come from, in words. Nothing here imports torch."""

import os
import platform
import re
from pathlib import Path


def cpu() -> str:
    """`AMD EPYC, 2 cores`; on ARM under Linux `CPU implementer 0x41, CPU part 0xd0c, 4 cores`."""
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        info = ""
    return f"{name(info) or platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def name(info: str) -> str:
    """The CPU by the content of /proc/cpuinfo. There ARM has the numbers of the maker and the
    model, not a name."""
    fields = dict(re.findall(r"^(.*?)\s*: (.*)$", info, re.MULTILINE))
    numbers = [f"{key} {fields[key]}" for key in ("CPU implementer", "CPU part") if key in fields]
    return ", ".join(numbers) or fields.get("model name", "")


def system() -> str:
    """`Python 3.11.7, Linux x86_64`."""
    return f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
