"""The processes that train together, each on its share of the shards.

`torchrun` starts them, on one host or several, and tells each its rank. All of them do the same:
a rank computes the parts of its own shards, each gets the parts of all, and adds them in the order
of the shards. So the number of ranks changes no byte. Started plainly, a process is a team of one.
"""

import math
import os
import socket
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import psutil
import torch
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor
from torch import distributed as dist
from torch.distributed.distributed_c10d import PrefixStore

from stages.common.errors import UserError
from stages.model import numerics
from stages.training import rendezvous

Tensors = dict[str, Tensor]
Part = Callable[[Tensor], list[Tensor]]  # of a shard, tensors of the same shapes as of any other


class Pool(Protocol):
    """What computes the parts of some shards: `numerics.pool`, or several of them together."""

    def map(self, part: Part, shards: Sequence[Tensor], /) -> Iterable[list[Tensor]]:
        """The parts of all shards, in their order."""


class Team:
    """A process that trains alone."""

    rank = 0
    size = 1

    def mine(self, shards: int) -> range:
        """Which of the shards this rank computes."""
        return range(self.rank, shards, self.size)

    def pool(self, workers: int) -> AbstractContextManager[Pool]:
        """Threads of this process, and of the others in the team, until the block ends."""
        return numerics.pool(workers)

    def shared(self, epochs: Sequence[Tensors]) -> Sequence[Tensors]:
        """The tensors of each finished epoch as rank 0 has them."""
        return epochs


class Ranks(Team):
    """One of the processes that `torchrun` started, after they have met."""

    def __init__(self, rank: int, size: int, device: torch.device) -> None:
        self.rank = rank
        self.size = size
        self._device = device

    @contextmanager
    def pool(self, workers: int) -> Iterator[Pool]:  # noqa: D102
        with numerics.pool(workers) as threads:
            yield SharedPool(self, threads)
        dist.destroy_process_group()

    def shared(self, epochs: Sequence[Tensors]) -> Sequence[Tensors]:  # noqa: D102
        named = {f"{n} {name}": t for n, epoch in enumerate(epochs) for name, t in epoch.items()}
        content = torch.frombuffer(bytearray(to_bytes(named)), dtype=torch.uint8)
        size = torch.tensor([len(content)], device=self._device)
        with rendezvous.peer_errors(self.rank):
            dist.broadcast(size, src=0)
            content = content.to(self._device) if self.rank == 0 else self._bytes(int(size))
            dist.broadcast(content, src=0)
        result: dict[int, Tensors] = {}
        for key, tensor in from_bytes(content.cpu().numpy().tobytes()).items():
            number, name = key.split(" ", 1)
            result.setdefault(int(number), {})[name] = tensor
        return [result[number] for number in sorted(result)]

    def gather(self, content: Tensor) -> Tensor:
        """The `content` of each rank, (size, n) uint8, of this one's, (n,).

        Raises:
            UserError: another rank has ended, or does not answer.
        """
        contents = self._bytes(self.size * len(content))
        with rendezvous.peer_errors(self.rank):
            dist.all_gather_single(contents, content)
        return contents.view(self.size, -1)

    def _bytes(self, n: int) -> Tensor:
        return torch.empty(n, dtype=torch.uint8, device=self._device)


class SharedPool:
    """The threads of all ranks as one pool."""

    def __init__(self, ranks: Ranks, threads: Executor) -> None:
        self._ranks = ranks
        self._threads = threads
        self._like: list[Tensor] = []  # any part: its shapes and types

    def map(self, part: Part, shards: Sequence[Tensor], /) -> list[list[Tensor]]:
        """Bytes go from rank to rank, and no number is converted: the bits stay as they are."""
        ranks = self._ranks
        mine = list(self._threads.map(part, [shards[n] for n in ranks.mine(len(shards))]))
        self._like = self._like or (mine[0] if mine else part(shards[0]))
        turns = math.ceil(len(shards) / ranks.size)  # the ranks send equally much
        padding = [self._like] * (turns - len(mine))
        table = ranks.gather(torch.cat([pack(sums) for sums in mine + padding]))
        rows = table.view(ranks.size, turns, -1)
        return [
            unpack(rows[n % ranks.size, n // ranks.size], self._like) for n in range(len(shards))
        ]


def pack(tensors: Sequence[Tensor]) -> Tensor:
    """The bytes of some tensors, one after the other, (n,) uint8."""
    return torch.cat([tensor.contiguous().view(-1).view(torch.uint8) for tensor in tensors])


def unpack(content: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """The inverse of `pack`: tensors with the shapes and types of `like`."""
    pieces = torch.split(content, [tensor.nbytes for tensor in like])
    return [
        piece.clone().view(tensor.dtype).view(tensor.shape)  # a copy is aligned, a piece need not
        for piece, tensor in zip(pieces, like, strict=True)
    ]


def reserve(args: Namespace, *outputs: str) -> Namespace:
    """Rank 0 alone writes and prints. On any other rank the paths `outputs` lead into a temporary
    folder, and stdout nowhere, so that it can do all that rank 0 does."""
    if not rendezvous.launched() or os.environ["RANK"] == "0":
        return args
    args.scratch = TemporaryDirectory(prefix="rank-")  # goes with the arguments
    sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - to the end
    scratch = {name: Path(args.scratch.name, name) for name in outputs}
    return Namespace(**{**vars(args), **scratch})


def join(identity: Mapping[str, Any], shards: int, device: torch.device, params: Path) -> Team:
    """Meet the other ranks, if `torchrun` started this process; they are many or few, the same
    `identity` gives the same bytes. `params` is for the ranks that serve in tools.distributed.

    Raises:
        UserError: a rank does not come, or it has another identity; the message says what differs.
    """
    if not rendezvous.launched():
        return Team()
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if device.type == "cuda":
        _take_gpu(int(os.environ.get("LOCAL_RANK", "0")))
    with rendezvous.peer_errors(rank), rendezvous.deadline(rank):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", _interface())
        store = rendezvous.connect()
        if rank == 0 and rendezvous.SESSION in os.environ:
            session = PrefixStore(os.environ[rendezvous.SESSION], store)
            rendezvous.announce(session, {"params": params.read_text(encoding="utf-8")})
        name = rendezvous.meet(PrefixStore("train", store), rank, size, rendezvous.SECONDS)
        group = PrefixStore(name, store)
        rendezvous.agree(group, rank, size, identity)
        backend = "nccl" if device.type == "cuda" else "gloo"
        timeout = timedelta(seconds=rendezvous.SECONDS)
        dist.init_process_group(backend, store=group, rank=rank, world_size=size, timeout=timeout)
    print(f"{size} ranks share the {shards} shards of each batch")
    if shards < size:
        print(
            f"train.shards: {shards}, so {size - shards} of the {size} ranks have nothing to do;"
            " more shards would keep them busy, and change the last bits"
        )
    return Ranks(rank, size, device)


def _take_gpu(number: int) -> None:
    if number >= torch.cuda.device_count():
        raise UserError(
            f"train.device: cuda: {torch.cuda.device_count()} GPUs on {socket.gethostname()}, so"
            f" none is left for process {number + 1}; start one process a GPU (--nproc-per-node)"
        )
    torch.cuda.set_device(number)


def _interface() -> str:
    """The network interface by which this host reaches rank 0's. Gloo would take the one that the
    host's own name leads to, often the loopback, where no other host finds it."""
    target = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    family, kind, _, _, address = socket.getaddrinfo(*target, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(address)  # sends nothing
        own = probe.getsockname()[0]
    interfaces = psutil.net_if_addrs().items()
    return next(name for name, addresses in interfaces if own in [a.address for a in addresses])
