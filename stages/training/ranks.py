"""Several processes that train together, started by `torchrun` on one host or on more.

Each process has a rank, from 0. All run the same code: a rank computes its own shards of a batch,
receives the results of all others (an all-gather), and adds them in the order of the shards. So
the number of processes changes no byte. Only rank 0 writes and prints. A process that was started
without torchrun trains alone: it has rank 0, computes all shards, and exchanges nothing.
"""

import io
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from stages.common import files
from stages.common.errors import UserError
from stages.model import numerics

TIMEOUT = timedelta(seconds=60)  # to wait for another rank

ShardFunction = Callable[[Tensor], list[Tensor]]  # the same shapes and types for every shard


def rank() -> int:
    """The number of this process."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def joined(fingerprint: Mapping[str, Any], shards: int) -> Iterator[bool]:
    """Meet the processes that torchrun started, if it did, and leave them when the block ends.
    All must have the same fingerprint. Gives whether this process is the one that writes.

    Raises:
        UserError: there are more processes than shards, one does not come, or one would compute
            something else; the message says which.
    """
    if not dist.is_torchelastic_launched():
        yield True
        return
    with _peer_errors():
        dist.init_process_group(timeout=TIMEOUT)  # gloo for tensors on a CPU, NCCL on a GPU
    try:
        _check_same(fingerprint)
        if size() > shards:
            raise UserError(
                f"train.shards: {shards}, so {size() - shards} of {size()} processes would have"
                " nothing to do; start fewer, or raise train.shards, which changes the last bits"
            )
        with redirect_stdout(io.StringIO() if rank() else sys.stdout):
            print(f"{size()} processes share the {shards} shards of each batch")
            yield rank() == 0
    finally:
        dist.destroy_process_group()


def _check_same(fingerprint: Mapping[str, Any]) -> None:
    """All ranks must have the same fingerprint.

    Raises:
        UserError: they have not; a line for each rank that differs from rank 0.
    """
    names = list(fingerprint)
    digests = [files.sha256(files.canonical_json({name: fingerprint[name]})) for name in names]
    packed = torch.tensor(list(bytes.fromhex("".join(digests))), dtype=torch.uint8)
    of_all = all_gather(packed).view(size(), len(names), -1)  # (size, names, 32)
    lines = []
    for number, theirs in enumerate(of_all):
        other = [
            name for name, a, b in zip(names, theirs, of_all[0], strict=True) if (a != b).any()
        ]
        if other:
            lines.append(f"rank {number} has other {', '.join(other)} than rank 0")
    if lines:
        raise UserError("\n".join(["the processes would not compute the same:", *lines]))


def map_shards(
    function: ShardFunction, shards: Sequence[Tensor], pool: numerics.Workers
) -> list[list[Tensor]]:
    """The results of `function` for all shards, in their order. Each rank computes its own with its
    `pool`. The ranks exchange bytes and convert no number, so the bits stay as they are."""
    if size() == 1:
        return pool.map(function, shards)
    results = pool.map(function, shards[rank() :: size()])
    # Of 5 shards and 2 ranks, rank 0 has the shards 0, 2, 4 and rank 1 has 1, 3 and padding.
    turns = math.ceil(len(shards) / size())
    padding = [results[0]] * (turns - len(results))
    packed = torch.cat([_pack(result) for result in results + padding])
    table = all_gather(packed).view(size(), turns, -1)
    return [_unpack(table[n % size(), n // size()], results[0]) for n in range(len(shards))]


def _pack(tensors: Sequence[Tensor]) -> Tensor:
    """The bytes of some tensors, one after the other, (n,) uint8."""
    return torch.cat([tensor.contiguous().view(-1).view(torch.uint8) for tensor in tensors])


def _unpack(content: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """The inverse of `_pack`: tensors with the shapes and types of `like`."""
    pieces = torch.split(content, [tensor.nbytes for tensor in like])
    return [
        piece.clone().view(tensor.dtype).view(tensor.shape)  # a slice may not be aligned
        for piece, tensor in zip(pieces, like, strict=True)
    ]


def all_gather(content: Tensor) -> Tensor:
    """The `content` of every rank one after the other, (size * n,); this rank gives its own, (n,).

    Raises:
        UserError: another rank has ended, or does not answer.
    """
    contents = content.new_empty(size() * len(content))
    with _peer_errors():
        dist.all_gather_single(contents, content)
    return contents


def from_rank_0(content: bytes) -> bytes:
    """What rank 0 gives, on every rank. What the others give does not count."""
    if size() == 1:
        return content
    n = torch.tensor(len(content))
    with _peer_errors():
        dist.broadcast(n, src=0)
        if not n:
            return b""
        buffer = torch.frombuffer(bytearray(content or int(n)), dtype=torch.uint8)  # or zeros
        dist.broadcast(buffer, src=0)
    return buffer.numpy().tobytes()


@contextmanager
def _peer_errors() -> Iterator[None]:
    """Turn the errors of a lost rank into one UserError."""
    try:
        yield
    except RuntimeError as error:  # the base of all errors of torch.distributed
        reason = re.sub(r"^\[[^]]*\]\s*", "", str(error)).split(". ")[0]  # without C++ positions
        raise UserError(
            f"rank {os.environ['RANK']} lost the others: {reason.partition(chr(10))[0]}; if none of"
            " them says why, run again: it goes on after the last finished epoch"
        ) from None
