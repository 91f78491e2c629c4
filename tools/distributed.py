"""DVC on one host, training on all: what `torchrun` starts.

    torchrun --nproc-per-node 2 -m tools.distributed [DVC ARGUMENTS, by default repro]

Rank 0 runs `dvc` with these arguments. When DVC runs the stage train, the other ranks join the
training. They take the parameters of that run, and the code and the data of their own folder. Only
rank 0's outputs are kept. All ranks end with DVC's exit status. A host that lacks MNIST downloads
it first.
"""

import json
import os
import socket
import sys
from argparse import REMAINDER, ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from queue import Empty, Queue
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

from torch.distributed import DistError
from torch.distributed.distributed_c10d import PrefixStore, Store

from stages.common.errors import UserError, run
from stages.training import rendezvous
from tools.dvc_files import DATA, read_pipeline
from tools.git import WORKSPACE
from tools.processes import run_python

START = 600  # seconds for the other hosts to fetch their data
POLL = 5  # seconds between two looks whether rank 0's host is still there
FAREWELL = 5  # seconds for the others to read the exit status


def main() -> None:
    """Meet the others; then lead them or serve."""
    args = parse_arguments()
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        raise UserError("start it as `torchrun --nproc-per-node 2 -m tools.distributed`")
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    with rendezvous.peer_errors(rank):
        with rendezvous.deadline(rank):
            store = rendezvous.connect()
            session = rendezvous.meet(
                PrefixStore("tools", store), rank, size, rendezvous.PEER_TIMEOUT
            )
        os.environ[rendezvous.SESSION] = session
        store = PrefixStore(session, store)
        if rank == 0:
            status = lead(store, range(1, size), args.arguments or ["repro"])
        else:
            status = serve(store, rank)
    sys.exit(status if status >= 0 else 128 - status)


def parse_arguments() -> Namespace:
    """The command line."""
    parser = ArgumentParser(
        usage="torchrun --nproc-per-node 2 -m tools.distributed [DVC ARGUMENTS]",
        description="Run DVC on one host; train on all that torchrun started.",
    )
    parser.add_argument(
        "arguments",
        nargs=REMAINDER,
        metavar="DVC ARGUMENTS",
        help="a command of DVC and its options (default: repro)",
    )
    return parser.parse_args()


def lead(store: Store, others: Sequence[int], arguments: Sequence[str]) -> int:
    """Run DVC when the others are ready; tell them its exit status, and return it."""
    for other in others:
        store.wait([f"ready {other}"], timedelta(seconds=START))
        if store.get(f"ready {other}") != b"yes":
            raise UserError(f"rank {other} has no data; see its output")
    status = run_python("-m", "dvc", *arguments)
    farewell = Thread(target=dismiss, args=(store, others, status), daemon=True)
    farewell.start()
    farewell.join(FAREWELL)  # without a network it would never end
    return status


def dismiss(store: Store, others: Sequence[int], status: int) -> None:
    """Tell the others DVC's exit status, and wait until they have read it. If it is not 0,
    `torchrun` ends the store right after this process."""
    with suppress(DistError):
        rendezvous.announce(store, {"status": status})
        store.wait([f"left {other}" for other in others])


def serve(store: Store, rank: int) -> int:
    """Train whenever rank 0 does, until it tells DVC's exit status."""
    dvc = read_pipeline(WORKSPACE)
    data = dvc.path(DATA)
    first = os.environ["LOCAL_RANK"] == "0"  # one process a host; on rank 0's, DVC does it
    ready = not first or Path(data).exists() or not run_python(*dvc.command("download"))
    store.set(f"ready {rank}", "yes" if ready else "no")
    if not ready:
        raise UserError(f"{data}: not found; get it with `dvc repro download` or `dvc pull`")
    for number in count(1):
        message = wait(store, rendezvous.announcement(number))
        if "status" in message:
            store.set(f"left {rank}", "")
            return int(message["status"])
        with TemporaryDirectory(prefix="params-") as folder:
            params = Path(folder, "params.yaml")
            params.write_text(message["params"], encoding="utf-8")
            command = [*dvc.command("train"), f"--params={params}"]
            run_python(*command, variables={"TMPDIR": folder})  # if it fails, so does rank 0's
    raise AssertionError


def wait(store: Store, key: str) -> dict[str, Any]:
    """The value of a key, once it has one. A thread asks the store: without a network the store
    never answers, and its own time limit does not work.

    Raises:
        OSError: rank 0's host does not answer any more.
    """
    values: Queue[bytes] = Queue()

    def ask() -> None:
        with suppress(DistError):
            store.wait([key], timedelta(days=365))
            values.put(store.get(key))

    Thread(target=ask, daemon=True).start()
    address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    while True:
        try:
            content: dict[str, Any] = json.loads(values.get(timeout=POLL))
        except Empty:
            socket.create_connection(address, timeout=POLL).close()
        else:
            return content


if __name__ == "__main__":
    run(main)
