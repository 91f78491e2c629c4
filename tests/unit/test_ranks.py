from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch import distributed as dist
from torch._C._distributed_c10d import HashStore

from stages.common.errors import UserError
from stages.model import numerics
from stages.training import ranks
from stages.training.ranks import DistributedTeam, Team
from tests.support import runner

AWKWARD = [
    torch.tensor(0.1),
    torch.tensor(2**53 + 1),  # no float64 has this value
    torch.tensor([[float("nan"), -0.0], [float("-inf"), 1e-45]]),
    torch.empty(0),
    torch.arange(6).reshape(2, 3).t(),  # not contiguous
    torch.tensor([1 / 3], dtype=torch.float64),
]


def bits(tensors: list[Tensor]) -> list[tuple[torch.dtype, torch.Size, bytes]]:
    return [(t.dtype, t.shape, t.contiguous().numpy().tobytes()) for t in tensors]


def test_tensors_come_out_with_the_bits_that_went_in() -> None:
    packed = ranks.pack(AWKWARD)
    assert (packed.dtype, packed.dim()) == (torch.uint8, 1)
    like = [torch.zeros_like(tensor) for tensor in AWKWARD]
    assert bits(ranks.unpack(packed, like)) == bits(AWKWARD)


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("shards", [1, 2, 7, 8])
def test_each_shard_has_one_rank_and_the_ranks_share_them_evenly(size: int, shards: int) -> None:
    teams = [DistributedTeam(rank, size, torch.device("cpu")) for rank in range(size)]
    shares = [list(team.own(shards)) for team in teams]
    assert sorted(number for share in shares for number in share) == list(range(shards))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_process_alone_has_all_shards_and_needs_no_process_group() -> None:
    team = ranks.join({}, 4, torch.device("cpu"), Path("params.yaml"))
    assert list(team.own(4)) == [0, 1, 2, 3]
    assert type(team.pool(2)) is type(numerics.pool(2))
    assert team.broadcast(kept := [{"weights": torch.ones(1)}]) is kept
    assert not dist.is_initialized()


@pytest.fixture
def group() -> Iterator[Team]:
    """A process group of this process alone."""
    dist.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    yield DistributedTeam(0, 1, torch.device("cpu"))
    if dist.is_initialized():
        dist.destroy_process_group()


def test_the_results_come_back_in_the_order_of_the_shards(group: Team) -> None:
    def function(shard: Tensor) -> list[Tensor]:
        return [shard.sum() / 3, shard.max()]

    shards = torch.arange(20).tensor_split(7)
    with group.pool(2) as pool:
        assert list(map(bits, pool.map(function, shards))) == [bits(function(s)) for s in shards]
    assert not dist.is_initialized()


@pytest.mark.parametrize("n", [0, 1, 12])
def test_the_finished_epochs_are_broadcast_with_their_bits(group: Team, n: int) -> None:
    epochs = [{"a b": torch.full((2,), epoch / 7), "c": torch.tensor(epoch)} for epoch in range(n)]
    shared = group.broadcast(epochs)
    assert [sorted(epoch) for epoch in shared] == [["a b", "c"]] * n
    for ours, theirs in zip(shared, epochs, strict=True):
        assert bits([ours["a b"], ours["c"]]) == bits([theirs["a b"], theirs["c"]])


def started_by_torchrun(monkeypatch: pytest.MonkeyPatch, rank: str) -> None:
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, rank)
    for name in ("WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "1000")


def test_without_an_address_a_process_trains_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with ranks.only_rank_0_writes(Namespace(model=Path("model")), "model") as args:
        assert args == Namespace(model=Path("model"))


@pytest.mark.parametrize("rank", [None, "0"])
def test_rank_0_writes_to_the_given_paths(
    monkeypatch: pytest.MonkeyPatch, rank: str | None
) -> None:
    if rank:
        started_by_torchrun(monkeypatch, rank)
    given = Namespace(data=Path("data"), model=Path("model"))
    with ranks.only_rank_0_writes(given, "model") as args:
        assert args == given


def test_another_rank_writes_and_prints_nowhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started_by_torchrun(monkeypatch, "1")
    given = Namespace(data=Path("data"), model=Path("model"))
    with ranks.only_rank_0_writes(given, "model") as args:
        print("not to be seen")
        assert args.data == Path("data")
        assert args.model != Path("model")
        args.model.write_bytes(b"weights")
    print("seen")
    assert not args.model.parent.exists()
    assert capsys.readouterr().out == "seen\n"


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    started_by_torchrun(monkeypatch, "999")
    with pytest.raises(UserError, match=r"^train\.device: cuda: \d+ GPUs on .* for process 1000;"):
        ranks.join({}, 4, torch.device("cuda"), Path("params.yaml"))


def test_train_starts_no_process_group_when_it_is_alone(workspace: Path) -> None:
    runner.run(workspace, "train")
    assert not dist.is_initialized()
