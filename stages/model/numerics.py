"""Arithmetic that gives the same bits on every x86-64 CPU with AVX2, with any number of workers.

Floating-point addition is not associative, so the order of additions decides the last bits, and
libraries choose that order by the CPU and by the number of threads. Here both are fixed: the
libraries are told to use AVX2 code everywhere and one thread, and the work is cut into parts
that do not depend on how many workers share them.
"""

import os
from argparse import ArgumentParser, ArgumentTypeError
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

SETTINGS = {
    "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch's own kernels
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # convolutions
    "ONEDNN_DEFAULT_FPMATH_MODE": "STRICT",  # no bfloat16 in place of float32
    "MKL_CBWR": "COMPATIBLE",  # matrix products; "AVX2" still differs between Intel and AMD
    "MKL_DYNAMIC": "FALSE",
    "OMP_DYNAMIC": "FALSE",
}
WORKERS = "PIPELINE_WORKERS"  # environment variable: how many threads share the work


def pin() -> bool:
    """Fix how the CPU computes. The libraries read the settings once, at their first operation,
    so call this before any tensor is made.

    Returns:
        Whether the bits will be the same as on other machines: false on a CPU without AVX2.
    """
    os.environ.update(SETTINGS if _has_avx2() else {})
    torch.set_num_threads(1)
    return torch.backends.cpu.get_cpu_capability() == "AVX2"


def _has_avx2() -> bool:
    """Whether the CPU has AVX2. With the settings on a CPU without it, PyTorch would crash."""
    try:
        return " avx2 " in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:  # not Linux
        return False


def add_workers_option(parser: ArgumentParser) -> None:
    """Add `--workers N`. The default is $PIPELINE_WORKERS, or one worker for each core that this
    process may use. The number changes the time, never the bytes, so it is not a parameter."""
    parser.add_argument(
        "--workers",
        type=_positive,
        default=os.environ.get(WORKERS) or str(_cores()),
        help=f"threads that share the work (default: ${WORKERS}, or the number of cores)",
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(
            f"must be a whole number, 1 or more (got {text!r}; see also ${WORKERS})"
        )
    return int(text)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # not Linux


def generator(*entropy: int) -> torch.Generator:
    """Random numbers that depend on the `entropy` alone, such as (seed, epoch), and not on what
    ran before. So after a kill there is no generator's state to restore."""
    (state,) = np.random.SeedSequence(entropy).generate_state(1)
    return torch.Generator().manual_seed(int(state))


def pool(workers: int) -> ThreadPoolExecutor:
    """Threads that compute at the same time, since PyTorch releases Python's lock. PyTorch's own
    threads stay off: their number would change the bits, and they slow other programs down."""
    return ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
