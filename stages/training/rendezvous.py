"""The rendezvous: how the ranks that `torchrun` started find each other and notice a lost one.

`torchrun` keeps a store of keys and values for its processes. Its address is in their environment.
"""

import json
import os
import re
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from threading import Timer
from typing import Any
from uuid import uuid4

from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from stages.common.errors import UserError

PEER_TIMEOUT = 30  # seconds to wait for another rank; all end within a minute after one is lost
RENDEZVOUS_TIMEOUT = 50  # seconds; without a network the store never answers
SESSION = "RANKS_SESSION"  # environment variable: the part of the store that tools.distributed uses


def launched() -> bool:
    """True if torchrun or a compatible launcher set RANK, WORLD_SIZE and the store's address."""
    return all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"))


def connect() -> Store:
    """The store of keys and values that `torchrun` keeps for its processes."""
    store: Store
    store, _, _ = next(rendezvous("env://", timeout=timedelta(seconds=PEER_TIMEOUT)))
    return store


def meet(store: Store, rank: int, size: int, seconds: float) -> str:
    """Wait for all ranks; a name for this group of processes, the same on each of them.

    The store outlives restarts, so each process takes a fresh id: nobody reads a stale key. Rank
    0's id is the name of the group. The keys, in their order:

        rank 2          = ID           rank 2 says that it is here, and its id
        group of ID     = NAME         rank 0 answers to that id
        2 is in NAME    = ""           rank 2 has read the answer

    Raises:
        UserError, torch.distributed.DistError: not all have come after so many `seconds`.
    """
    me = uuid4().hex
    if rank > 0:
        store.set(f"rank {rank}", me)
        store.wait([f"group of {me}"], timedelta(seconds=seconds))
        group = store.get(f"group of {me}").decode()
        store.set(f"{rank} is in {group}", "")
        return group
    missing, end = list(range(1, size)), time.monotonic() + seconds
    while missing := [other for other in missing if not store.check([f"{other} is in {me}"])]:
        if time.monotonic() > end:
            raise UserError(
                f"rank {missing[0]} has not come within {seconds:.0f} s; see its output"
            )
        for other in missing:
            if store.check([f"rank {other}"]):
                store.set(f"group of {store.get(f'rank {other}').decode()}", me)
        time.sleep(0.05)
    return me


def agree(store: Store, rank: int, size: int, fingerprint: Mapping[str, Any]) -> None:
    """Check that all ranks have the same `fingerprint`: what decides the bytes of their results.

    Raises:
        UserError: they differ; a line for each value, the same lines on every rank.
    """
    message = {"host": socket.gethostname(), "fingerprint": fingerprint}
    store.set(f"rank {rank}", json.dumps(message))
    ranks = [json.loads(store.get(f"rank {other}")) for other in range(size)]
    if differences := list(compare(ranks)):
        store.set(f"rank {rank} has read", "")
        if rank == 0:  # without torchrun the store ends with this process
            store.wait([f"rank {other} has read" for other in range(size)])
        raise UserError("\n".join(["the ranks would not compute the same:", *differences]))


def compare(ranks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each value of a rank's fingerprint that differs from rank 0's."""
    expected = dict(_flat(ranks[0]["fingerprint"]))
    for number, rank in enumerate(ranks):
        values = dict(_flat(rank["fingerprint"]))
        for key in sorted(expected.keys() | values.keys()):
            ours, theirs = expected.get(key, "nothing"), values.get(key, "nothing")
            if ours != theirs:
                yield f"rank {number} ({rank['host']}) has {key} {theirs}, rank 0 has {ours}"


def _flat(values: Mapping[str, Any], *outer: str) -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, *outer, name)
        else:
            yield ".".join([*outer, name]).removeprefix("params."), value


def announce(store: Store, message: Mapping[str, Any]) -> None:
    """Tell the ranks that wait in tools.distributed what comes next: the `params` of a training,
    or the exit `status`."""
    store.set(announcement(store.add("announcements", 1)), json.dumps(message))


def announcement(number: int) -> str:
    """The key of an announcement, counted from 1."""
    return f"announcement {number}"


@contextmanager
def peer_errors(rank: int) -> Iterator[None]:
    """Turn the errors that a lost peer causes into one UserError."""
    try:
        yield
    except (RuntimeError, OSError) as error:  # of torch.distributed, of the network
        reason = re.sub(r"^\[[^]]*\]\s*", "", str(error)).split(". ")[0]  # without C++ positions
        raise UserError(_lost(rank, reason)) from None


def _lost(rank: int, reason: str) -> str:
    return (
        f"rank {rank} ({socket.gethostname()}) lost the others: {reason};"
        " run again, it goes on after the last finished epoch"
    )


@contextmanager
def deadline(rank: int) -> Iterator[None]:
    """End this process if the block takes too long. When the network is gone, a call of the store
    never returns, and Python cannot handle a signal meanwhile."""
    watchdog = Timer(RENDEZVOUS_TIMEOUT, _give_up, [rank])
    watchdog.daemon = True
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()


def _give_up(rank: int) -> None:
    print(_lost(rank, f"no answer in {RENDEZVOUS_TIMEOUT} s"), file=sys.stderr)
    os._exit(1)
