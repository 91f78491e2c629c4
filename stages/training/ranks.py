"""The processes that train together, each on its own shards of a batch.

`torchrun` starts them, on one host or several, and gives each its rank. All ranks run the same
code: a rank computes the sums of its own shards, receives those of all others (an all-gather), and
adds them in shard order. So the number of ranks changes no byte. A process that was started
without torchrun is a team of one.
"""

import math
import os
import socket
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
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
ShardFunction = Callable[[Tensor], list[Tensor]]  # the same shapes and types for every shard


class Pool(Protocol):
    """What computes a function of some shards: the threads of one process, or of all ranks."""

    def map(self, function: ShardFunction, shards: Sequence[Tensor], /) -> list[list[Tensor]]:
        """The results, in the order of the shards."""


class Team:
    """A process that trains alone."""

    rank = 0
    size = 1

    def own(self, shards: int) -> range:
        """The numbers of the shards that this rank computes."""
        return range(self.rank, shards, self.size)

    def pool(self, workers: int) -> AbstractContextManager[Pool]:
        """The threads of this process, and of all other ranks, until the block ends."""
        return numerics.pool(workers)

    def broadcast(self, epochs: Sequence[Tensors]) -> Sequence[Tensors]:
        """The tensors of each finished epoch as rank 0 has them."""
        return epochs


class DistributedTeam(Team):
    """One of several ranks, after they have met."""

    def __init__(self, rank: int, size: int, device: torch.device) -> None:
        self.rank = rank
        self.size = size
        self._device = device

    @contextmanager
    def pool(self, workers: int) -> Iterator[Pool]:  # noqa: D102
        with numerics.pool(workers) as threads:
            yield DistributedPool(self, threads)
        dist.destroy_process_group()

    def broadcast(self, epochs: Sequence[Tensors]) -> Sequence[Tensors]:  # noqa: D102
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

    def all_gather(self, content: Tensor) -> Tensor:
        """The `content` of every rank, (size, n) uint8; this rank gives its own, (n,).

        Raises:
            UserError: another rank has ended, or does not answer.
        """
        contents = self._bytes(self.size * len(content))
        with rendezvous.peer_errors(self.rank):
            dist.all_gather_single(contents, content)
        return contents.view(self.size, -1)

    def _bytes(self, n: int) -> Tensor:
        return torch.empty(n, dtype=torch.uint8, device=self._device)


class DistributedPool:
    """The threads of all ranks as one pool."""

    def __init__(self, team: DistributedTeam, threads: numerics.Workers) -> None:
        self._team = team
        self._threads = threads
        self._like: list[Tensor] = []  # the result of any shard, for its shapes and types

    def map(self, function: ShardFunction, shards: Sequence[Tensor], /) -> list[list[Tensor]]:
        """Compute this rank's shards and gather those of the others. The ranks exchange bytes and
        convert no number, so the bits stay as they are. A rank that has no shard computes the
        first one once, to know the shapes."""
        team = self._team
        own = self._threads.map(function, [shards[n] for n in team.own(len(shards))])
        self._like = self._like or (own[0] if own else function(shards[0]))
        turns = math.ceil(len(shards) / team.size)  # every rank sends this many results
        padding = [self._like] * (turns - len(own))
        table = team.all_gather(torch.cat([pack(result) for result in own + padding]))
        rows = table.view(team.size, turns, -1)  # shard n is turn n // size of rank n % size
        return [unpack(rows[n % team.size, n // team.size], self._like) for n in range(len(shards))]


def pack(tensors: Sequence[Tensor]) -> Tensor:
    """The bytes of some tensors, one after the other, (n,) uint8."""
    return torch.cat([tensor.contiguous().view(-1).view(torch.uint8) for tensor in tensors])


def unpack(content: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """The inverse of `pack`: tensors with the shapes and types of `like`."""
    pieces = torch.split(content, [tensor.nbytes for tensor in like])
    return [
        piece.clone().view(tensor.dtype).view(tensor.shape)  # a slice may not be aligned
        for piece, tensor in zip(pieces, like, strict=True)
    ]


@contextmanager
def only_rank_0_writes(args: Namespace, *outputs: str) -> Iterator[Namespace]:
    """The arguments to train with. On rank 0 they are as given. On any other rank the paths that
    are named `outputs` lead into a temporary folder, and nothing is printed, until the block ends.
    So all ranks can run the same code."""
    if not rendezvous.launched() or os.environ["RANK"] == "0":
        yield args
        return
    with (
        TemporaryDirectory(prefix="rank-") as folder,
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        redirect_stdout(nowhere),
    ):
        yield Namespace(**vars(args) | {name: Path(folder, name) for name in outputs})


def join(fingerprint: Mapping[str, Any], shards: int, device: torch.device, params: Path) -> Team:
    """Meet the other ranks, if `torchrun` started this process. All must have the same
    `fingerprint`, which decides the bytes of the result. The pool of the team that is returned ends
    the process group. Rank 0 announces the file `params` to the ranks that
    wait in tools.distributed.

    Raises:
        UserError: a rank does not come, or its fingerprint differs; the message says how.
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
        name = rendezvous.meet(PrefixStore("train", store), rank, size, rendezvous.PEER_TIMEOUT)
        group = PrefixStore(name, store)
        rendezvous.agree(group, rank, size, fingerprint)
        backend = "nccl" if device.type == "cuda" else "gloo"
        timeout = timedelta(seconds=rendezvous.PEER_TIMEOUT)
        dist.init_process_group(backend, store=group, rank=rank, world_size=size, timeout=timeout)
    print(f"{size} ranks share the {shards} shards of each batch")
    if shards < size:
        print(
            f"train.shards: {shards}, so {size - shards} of the {size} ranks have nothing to do;"
            " more shards would give them work, and change the last bits of the weights"
        )
    return DistributedTeam(rank, size, device)


def _take_gpu(number: int) -> None:
    if number >= torch.cuda.device_count():
        raise UserError(
            f"train.device: cuda: {torch.cuda.device_count()} GPUs on {socket.gethostname()}, so"
            f" none is left for process {number + 1}; start one process a GPU (--nproc-per-node)"
        )
    torch.cuda.set_device(number)


def _interface() -> str:
    """The network interface by which this host reaches rank 0's. Gloo would take the one that this
    host's own name resolves to. That is often the loopback, where no other host reaches it."""
    target = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    family, kind, _, _, address = socket.getaddrinfo(*target, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(address)  # sends nothing
        own = probe.getsockname()[0]
    interfaces = psutil.net_if_addrs().items()
    return next(name for name, addresses in interfaces if own in [a.address for a in addresses])
