import re
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from torch._C._distributed_c10d import HashStore

from stages.common.errors import UserError
from stages.training import rendezvous
from tests.support import runner

RANK_0: dict[str, Any] = {
    "params": {"train": {"lr": 0.1, "augment": {"shear": 0}}},
    "data": "ab12",
    "settings": {"MKL_CBWR": None},
}


def said(fingerprint: dict[str, Any], host: str = "a") -> dict[str, Any]:
    return {"host": host, "fingerprint": fingerprint}


def test_the_same_fingerprint_gives_no_difference() -> None:
    assert list(rendezvous.compare([said(RANK_0), said(RANK_0, "b")])) == []


def test_a_difference_names_rank_host_key_and_both_values() -> None:
    params = {"train": {"lr": 0.2, "augment": {"shear": 5}}, "model": {"std": 1}}
    assert list(
        rendezvous.compare([said(RANK_0), said(RANK_0), said({"params": params}, "b")])
    ) == [
        "rank 2 (b) has data nothing, rank 0 has ab12",
        "rank 2 (b) has model.std 1, rank 0 has nothing",
        "rank 2 (b) has settings.MKL_CBWR nothing, rank 0 has None",
        "rank 2 (b) has train.augment.shear 5, rank 0 has 0",
        "rank 2 (b) has train.lr 0.2, rank 0 has 0.1",
    ]


def test_ranks_meet_although_the_store_holds_keys_of_dead_processes() -> None:
    store = HashStore()
    store.set("rank 1", "the name of a dead process")
    store.set("group of the name of a dead process", "its group")
    names = set()
    for _ in range(3):
        with ThreadPoolExecutor(3) as threads:
            calls = [threads.submit(rendezvous.meet, store, rank, 3, 30) for rank in range(3)]
        (name,) = {call.result() for call in calls}
        names.add(name)
    assert len(names) == 3


def test_a_rank_that_does_not_come_is_named() -> None:
    store = HashStore()
    with ThreadPoolExecutor(1) as threads:
        threads.submit(rendezvous.meet, store, 1, 3, 30)
        with pytest.raises(UserError, match=r"^rank 2 has not come within 1 s; see its output$"):
            rendezvous.meet(store, 0, 3, 1)


@pytest.mark.parametrize("data", ["ab12", "cd34"])
def test_all_ranks_agree_or_all_are_told_the_difference(data: str) -> None:
    store = HashStore()
    fingerprints = [RANK_0, {**RANK_0, "data": data}]

    def refusal(rank: int) -> str:
        try:
            rendezvous.agree(store, rank, 2, fingerprints[rank])
        except UserError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(refusal, range(2))
    assert first == second
    assert ("has data cd34, rank 0 has ab12" in first) == (data != "ab12")


def test_a_lost_rank_becomes_an_error_of_one_line() -> None:
    name = re.escape(socket.gethostname())
    expected = rf"^rank 3 \({name}\) lost the others: Connection closed by peer; run again, it goes"
    with pytest.raises(UserError, match=expected), rendezvous.peer_errors(3):
        raise RuntimeError("[/a/file.cc:1] Connection closed by peer. \nand a trace")


def test_a_process_ends_when_the_store_never_answers() -> None:
    code = (
        "import time; from stages.training import rendezvous; rendezvous.RENDEZVOUS_TIMEOUT = 0.1\n"
        "with rendezvous.deadline(3): time.sleep(60)"
    )
    process = runner.python("-c", code)
    assert process.returncode == 1
    assert process.stderr.startswith("rank 3 (")
    assert "lost the others: no answer in 0.1 s; run again" in process.stderr
