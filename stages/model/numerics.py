"""Arithmetic that gives the same bits on every CPU of an architecture, with any number of workers.

Floating-point addition is not associative, so the order of additions decides the last bits, and
libraries choose that order by the CPU and by the number of threads. Here both are fixed: the
libraries are told to use the code that every such CPU can run, and one thread. The work is cut
into parts that do not depend on how many workers share them.

On x86-64 that is the code for AVX2, on aarch64 (64-bit ARM) the code for Advanced SIMD. The last
bits of the two architectures differ.
"""

import os
import platform
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Literal, TypeVar

import numpy as np
import torch

from stages.common.errors import UserError

_BY_ARCHITECTURE = {
    "x86_64": {
        "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch's own kernels
        "ONEDNN_MAX_CPU_ISA": "AVX2",  # convolutions
        "ONEDNN_DEFAULT_FPMATH_MODE": "STRICT",  # no bfloat16 in place of float32
        "MKL_CBWR": "COMPATIBLE",  # matrix products; "AVX2" still differs between Intel and AMD
        "MKL_DYNAMIC": "FALSE",
        "OMP_DYNAMIC": "FALSE",
    },
    "aarch64": {
        "ATEN_CPU_CAPABILITY": "default",  # PyTorch's own kernels, without SVE
        "NVPL_BLAS_DEBUG_CPU_TYPE": "1",  # matrix products: the code for any Armv8 CPU
        "OMP_DYNAMIC": "FALSE",
    },
}
_KNOWN_AS = {"AMD64": "x86_64", "ARM64": "aarch64", "arm64": "aarch64", "Darwin": "macOS"}
ARCHITECTURE = _KNOWN_AS.get(platform.machine(), platform.machine())
SETTINGS = dict(_BY_ARCHITECTURE.get(ARCHITECTURE, {}))  # environment variables
WORKERS = "PIPELINE_WORKERS"  # environment variable: how many threads share the work

Item = TypeVar("Item")
Result = TypeVar("Result")


def pin() -> None:
    """Fix how the CPU computes. The libraries read the settings once, at their first operation,
    so call this before any tensor is made."""
    torch.set_num_threads(1)
    if lacks_avx2():
        return  # with the settings, PyTorch would crash
    os.environ.update(SETTINGS)
    if ARCHITECTURE == "aarch64":
        # Arm's library, behind oneDNN, chooses its code by the CPU and has no setting for that.
        torch.backends.mkldnn.set_flags(_enabled=False)  # type: ignore[no-untyped-call]
        torch.backends.nnpack.set_flags(_enabled=False)  # type: ignore[no-untyped-call]
    # Let glibc keep a step's memory for the next one. Otherwise it gives large blocks back to the
    # system and takes them anew, which makes a step up to a third longer. How large a block it
    # keeps follows the largest one that was freed so far, at most 32 MiB: so one of that size,
    # less malloc's own header, is made and freed. Source: mallopt(3), M_MMAP_THRESHOLD.
    torch.empty(2**25 - 2**16, dtype=torch.uint8)


def lacks_avx2() -> bool:
    """Whether this is an old x86-64 CPU."""
    return ARCHITECTURE == "x86_64" and not torch.cpu.get_capabilities()["avx2"]


def choose_device(name: Literal["cpu", "cuda"]) -> torch.device:
    """The device of that name, after `pin`. Says so when the last bits may differ from dvc.lock.

    Raises:
        UserError: `cuda` was asked for and there is none.
    """
    if name == "cuda":
        number = int(os.environ.get("LOCAL_RANK", "0"))  # torchrun's, one GPU for each process
        if number >= torch.cuda.device_count():
            raise UserError(
                f"params.yaml: train.device: cuda, but PyTorch sees {torch.cuda.device_count()}"
                f" GPUs here, none for process {number + 1}; use cpu, or install a GPU's driver and"
                " PyTorch's CUDA build"
            )
        torch.cuda.set_device(number)
        pin_gpu()
        reason = "they are computed on a GPU"
    else:
        reason = why_bits_may_differ(platform.system(), ARCHITECTURE, torch.__config__.show())
    if reason:
        print(f"Note: the last bits of the weights may differ from dvc.lock: {reason}")
    return torch.device(name)


def why_bits_may_differ(system: str, architecture: str, build: str) -> str:
    """Why the last bits may differ from those in dvc.lock, if PyTorch was built like this. Empty
    if they are the same."""
    if system != "Linux" or architecture not in _BY_ARCHITECTURE:
        return f"nobody has compared them on {_KNOWN_AS.get(system, system)} {architecture}"
    if lacks_avx2():
        return "this CPU has no AVX2"
    if torch.backends.cpu.get_cpu_capability().lower() != SETTINGS.get("ATEN_CPU_CAPABILITY"):
        return "PyTorch does not use the settings of stages/model/numerics.py"
    if architecture == "aarch64" and "BLAS_INFO=nvpl" not in build:
        return "this PyTorch has another library for matrix products than PyPI's"
    return "" if architecture == "x86_64" else "this is aarch64, and they are of x86-64"


def pin_gpu() -> None:
    """Fix how the GPU computes, as far as PyTorch can: float32 in full, and the same algorithms in
    each run. PyTorch warns of an operation that has no such algorithm. Call it before any tensor
    is on the GPU.

    Source: docs.pytorch.org/docs/stable/notes/randomness.html
    """
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)


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


def generator(*key: int) -> torch.Generator:
    """Random numbers that depend on the `key` alone, such as (seed, epoch), and not on what
    ran before. So after a kill there is no generator's state to restore."""
    return torch.Generator().manual_seed(seed(*key))


def seed(*key: int) -> int:
    """A seed from 0 to 2**32 - 1 that depends on the whole `key`."""
    (state,) = np.random.SeedSequence(key).generate_state(1)
    return int(state)


class Workers:
    """This thread and others, which compute at the same time, since PyTorch releases Python's lock.

    This thread works too: with one worker no other thread is woken, with two only one is.
    """

    def __init__(self, n: int, others: Executor) -> None:
        """So many workers, with `n` - 1 threads in `others`."""
        self._n, self._others = n, others

    def map(self, function: Callable[[Item], Result], items: Sequence[Item], /) -> list[Result]:
        """The results, in the order of the items. Worker k has the items k, k + n, k + 2n, ..."""
        first, *shares = [items[worker :: self._n] for worker in range(self._n)]
        waiting = [self._others.submit(_map, function, share) for share in shares if share]
        parts = [_map(function, first), *(future.result() for future in waiting)]
        return [parts[number % self._n][number // self._n] for number in range(len(items))]


def _map(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]


@contextmanager
def pool(workers: int) -> Iterator[Workers]:
    """Workers, until the block ends. PyTorch's own threads stay off: their number would change the
    bits, and they slow other programs down."""
    torch.set_num_threads(1)
    with ThreadPoolExecutor(
        max(1, workers - 1), initializer=torch.set_num_threads, initargs=(1,)
    ) as others:
        yield Workers(workers, others)
