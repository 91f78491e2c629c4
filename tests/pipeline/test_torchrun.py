"""Several processes, on one host or on two: the same bytes, or a line that says what is wrong."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from stages.common.files import sha256
from tests.support import posix, runner, tiny
from tests.support.project import wait_for

pytestmark = posix.only  # PyTorch for Windows lacks libuv, which the store of torchrun wants
TRAIN = runner.STAGES["train"]["cmd"].split()[1:]


def workspace(folder: Path, **train: object) -> Path:
    tiny.write(folder / runner.DATA)
    values = {"epochs": 2, "batch_size": 20, "lr": 0.05, "log_every": 12, "shards": 3}
    runner.write_params(folder, train=values | tiny.RECIPE | train)
    return folder


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    """torchrun in a folder, with the stages that are in it, or else with those of the project."""
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *options, *TRAIN],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(runner.ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def two_hosts(*folders: Path) -> list[subprocess.Popen[str]]:
    """torchrun in each folder, as on two hosts: they know of each other by an address alone."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    where = ("--nnodes=2", "--master-addr=127.0.0.1", f"--master-port={port}")
    return [start(folder, *where, f"--node-rank={n}") for n, folder in enumerate(folders)]


@contextmanager
def ending(*processes: subprocess.Popen[str]) -> Iterator[list[str]]:
    """What the processes print until their end. They are killed if the test fails before."""
    try:
        yield [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()


def test_processes_and_hosts_give_the_bytes_of_one_process(tmp_path: Path) -> None:
    plain, several, first, second = (workspace(tmp_path / name) for name in "abcd")
    runner.run(plain, "train", "--workers=2")
    with ending(start(several, "--nproc-per-node=2"), *two_hosts(first, second)) as printed:
        assert ["Training has finished" in text for text in printed] == [True, True, False]
        assert "2 processes share the 3 shards of each batch" in printed[0]
    expected = runner.training_digests(plain)
    assert "models/checkpoints/epoch-02.safetensors" in expected
    assert runner.training_digests(several) == runner.training_digests(first) == expected
    assert runner.training_digests(second) == {}


def change_data(folder: Path) -> None:
    """Change one pixel, and its file's digest in SHA256SUMS to fit."""
    path = folder / runner.DATA / "train-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    before = sha256(bytes(content))
    content[-1] ^= 1
    path.write_bytes(content)
    sums = path.with_name("SHA256SUMS")
    sums.write_text(sums.read_text().replace(before, sha256(bytes(content))))


def test_processes_that_differ_refuse_to_start(tmp_path: Path) -> None:
    first, second = (workspace(tmp_path / "a"), workspace(tmp_path / "b", lr=0.04))
    for folder in (first, second):
        shutil.copytree(runner.ROOT / "stages", folder / "stages")
        shutil.copy(runner.ROOT / "requirements-stages.txt", folder)
    runner.change_code(second)
    change_data(second)
    with ending(*two_hosts(first, second)) as printed:
        for text in printed:
            assert "\nrank 1 has other params, data, code than rank 0\n" in text
            assert 'stages/train.py", line' not in text  # no traceback of ours
    assert runner.training_digests(first) == {}


@pytest.mark.slow
def test_more_processes_than_shards_are_refused(tmp_path: Path) -> None:
    process = start(workspace(tmp_path), "--nproc-per-node=4")
    with ending(process) as (printed,):
        assert "train.shards: 3, so 1 of 4 processes would have nothing to do" in printed
    assert process.returncode != 0


@pytest.mark.slow
def test_a_killed_process_ends_all_and_the_next_run_goes_on(tmp_path: Path) -> None:
    plain, killed = (workspace(tmp_path / name, epochs=5, batch_size=4) for name in "ab")
    runner.run(plain, "train", "--workers=2")
    process = start(killed, "--nproc-per-node=2")
    wait_for(process, "[Epoch: 3")
    trainers = psutil.Process(process.pid).children(recursive=True)
    next(one for one in trainers if one.environ().get("RANK") == "1").kill()
    with ending(process) as (printed,):
        assert process.returncode != 0
        assert 'stages/train.py", line' not in printed
    assert not (killed / "models/model.safetensors").exists()
    alone = runner.spawn(killed, "train")  # without torchrun
    assert "Resuming after epoch" in alone.stdout
    assert runner.training_digests(killed) == runner.training_digests(plain)
