"""Several processes and several hosts: the same bytes, or an error that says what is wrong."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support import hosts, posix, runner, tiny
from tests.support.project import Project, wait_for

pytestmark = posix.only  # PyTorch for Windows lacks libuv, which the store of torchrun wants
TRAIN = runner.STAGES["train"]["cmd"].split()[1:]
TOOL = ["-m", "tools.distributed"]
FORCED = ["repro", "--force", "--single-item", "train"]
PORT = 29400  # on the test's own hosts, where no other program has taken it
MINUTE = 60  # seconds in which all must end after the network was cut


def torchrun(*options: str) -> list[str]:
    return [sys.executable, "-m", "torch.distributed.run", *options]


def start(
    command: list[str], folder: Path, environment: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment or {**os.environ, "PYTHONPATH": str(runner.ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@contextmanager
def started(*processes: subprocess.Popen[str]) -> Iterator[None]:
    """Kill the processes and their children at the end, also when the test fails."""
    try:
        yield
    finally:
        for process in processes:
            for child in descendants(process):
                child.kill()
            process.kill()
            process.wait()


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def trainers(*processes: subprocess.Popen[str]) -> dict[int, psutil.Process]:
    """The training process of each rank, by the rank."""
    return {
        int(child.environ()["RANK"]): child
        for process in processes
        for child in descendants(process)
        if child.cmdline()[1:] and "stages.train" in child.cmdline() and "-c" not in child.cmdline()
    }


def end(process: subprocess.Popen[str], timeout: float | None = None) -> str:
    output, _ = process.communicate(timeout=timeout)
    return output


def finish(process: subprocess.Popen[str]) -> str:
    with started(process):
        output = end(process)
    assert process.returncode == 0, output
    return output


def on_two(
    pair: tuple[hosts.Host, hosts.Host], *program: str, options: tuple[str, ...] = ()
) -> list[list[str]]:
    """The command for each of two hosts, one process on each."""
    first, _ = pair
    where = [f"--master-addr={first.address}", f"--master-port={PORT}", "--nnodes=2"]
    return [
        host.command(*torchrun(*where, f"--node-rank={n}", *options), *program)
        for n, host in enumerate(pair)
    ]


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[hosts.Host, hosts.Host]]:
    with hosts.joined() as pair:
        yield pair


def workspace(folder: Path, shards: int) -> Path:
    tiny.write(folder / runner.DATA)
    train = {"epochs": 2, "batch_size": 20, "lr": 0.05, "log_every": 12, "shards": shards}
    runner.write_params(folder, train=train | tiny.RECIPE)
    return folder


def outputs(folder: Path) -> dict[str, str]:
    """The digests of what is to be the same. Fails if a temporary file or progress is left."""
    files = runner.training_digests(folder)
    assert sorted(files) == [
        "metrics/history.csv",
        "models/checkpoints/epoch-01.safetensors",
        "models/checkpoints/epoch-02.safetensors",
        "models/first_images.idx",
        "models/model.safetensors",
    ]
    return files


@pytest.mark.slow
@pytest.mark.parametrize("shards", [2, 4, 8])
def test_one_process_several_processes_and_two_hosts_give_the_same_bytes(
    tmp_path: Path, pair: tuple[hosts.Host, hosts.Host], shards: int
) -> None:
    plain, several, first, second = (workspace(tmp_path / name, shards) for name in "abcd")
    runner.run(plain, "train", "--workers=2")
    expected = outputs(plain)

    size = {2: 3, 4: 2, 8: 3}[shards]
    commands = [torchrun(f"--nproc-per-node={size}") + TRAIN, *on_two(pair, *TRAIN)]
    processes = [
        start(command, folder)
        for command, folder in zip(commands, (several, first, second), strict=True)
    ]
    with started(*processes):
        printed = [end(process) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], printed
    assert [text.count("Training has finished") for text in printed] == [1, 1, 0]  # rank 0 alone
    idle = "train.shards: 2, so 1 of the 3 ranks have nothing to do"
    assert (idle in printed[0]) == (shards < size)
    assert outputs(several) == expected
    assert outputs(first) == expected
    assert runner.training_digests(second) == {}


def change_params(folder: Path) -> None:
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("lr: 0.05", "lr: 0.04"))


def test_ranks_that_differ_refuse_to_start(tmp_path: Path) -> None:
    changes: list[Callable[[Path], object]] = [
        str,
        change_params,
        runner.change_code,
        runner.change_data,
    ]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    processes = []
    for rank, change in enumerate(changes):
        folder = workspace(tmp_path / str(rank), shards=4)
        shutil.copytree(runner.ROOT / "stages", folder / "stages")
        change(folder)
        environment = {"RANK": str(rank), "WORLD_SIZE": "4", "LOCAL_RANK": str(rank)}
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        processes.append(start([sys.executable, *TRAIN], folder, {**os.environ, **environment}))
    with started(*processes):
        for process in processes:
            output = end(process)
            assert process.returncode == 1
            assert "Traceback" not in output
            name = re.escape(socket.gethostname())
            assert re.search(
                rf"^rank 1 \({name}\) has train\.lr 0\.04, rank 0 has 0\.05$",
                output,
                re.MULTILINE,
            ), output
            assert re.search(rf"^rank 2 \({name}\) has code\.train\.py \w", output, re.MULTILINE)
            assert re.search(rf"^rank 3 \({name}\) has data \w", output, re.MULTILINE)
            assert len(re.findall("^rank", output, re.MULTILINE)) == 3
    assert runner.training_digests(tmp_path / "0") == {}


def start_tool(
    project: Project, *arguments: str, options: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    command = [*torchrun("--nproc-per-node=2", *options), *TOOL, *arguments]
    return start(command, project.folder, project.environment())


def assert_same(project: Project) -> None:
    assert project("git", "status", "--short") == ""
    assert not (project.folder / ".progress").exists()


@pytest.mark.slow
def test_a_killed_rank_restarts_all_and_the_bytes_stay_the_same(slow: Project) -> None:
    process = start_tool(slow, *FORCED, options=("--max-restarts=1",))
    with started(process):
        wait_for(process, "[Epoch: 3")
        trainers(process)[1].kill()
        output = end(process)
    assert process.returncode == 0, output
    assert "lost the others" in output
    assert "Resuming after epoch" in output
    assert_same(slow)


def test_an_experiment_trains_with_its_own_params(project: Project) -> None:
    change = ["-S", "train.lr=0.02", "-S", "train.epochs=1"]
    output = finish(start_tool(project, "exp", "run", "--temp", "-n", "mine", *change))
    assert "Training on 600 images (cpu, workers: 1)" in output
    assert "Ran experiment" in output
    project("dvc", "exp", "apply", "mine")
    assert "lr: 0.02" in (project.folder / "params.yaml").read_text()
    output = finish(start_tool(project))  # nothing to do, so the other rank ends too
    assert "up to date" in output


@pytest.mark.slow
def test_three_ranks_finish_what_two_killed_ones_began(slow: Project) -> None:
    process = start_tool(slow, *FORCED)
    with started(process):
        wait_for(process, "[Epoch: 3")
        for trainer in trainers(process).values():
            trainer.kill()
        output = end(process)
    assert process.returncode != 0
    assert "failed to reproduce 'train'" in output
    assert not (slow.folder / "models/model.safetensors").exists()
    process = start_tool(slow, "repro", "train", options=("--nproc-per-node=3",))
    assert "Resuming after epoch" in finish(process)
    assert_same(slow)


@pytest.mark.slow
def test_a_cut_network_ends_all_ranks_and_dvc_repro_finishes(
    slow: Project, pair: tuple[hosts.Host, hosts.Host], tmp_path: Path
) -> None:
    """Must be the last test: it removes the network between the hosts."""
    other = Project(shutil.copytree(slow.folder, tmp_path / "other", symlinks=True))
    shutil.rmtree(other.folder / "data")  # it fetches its own data
    tiny.write(tmp_path / "tiny")
    first, second = (
        start(command, project.folder, project.environment())
        for command, project in zip(on_two(pair, *TOOL, *FORCED), (slow, other), strict=True)
    )
    with started(first, second):
        wait_for(first, "[Epoch: 3")
        pair[0].cut()
        deadline = time.monotonic() + MINUTE
        for process in (first, second):
            output = end(process, timeout=deadline - time.monotonic())
            assert process.returncode != 0
            assert re.search(r"^rank \d .* lost the others: .*; run again", output, re.MULTILINE)
    assert (other.folder / "data/MNIST/raw/SHA256SUMS").exists()
    assert not (slow.folder / "models/model.safetensors").exists()
    assert list(slow.folder.rglob("*.tmp")) == []
    assert "Resuming after epoch" in slow("dvc", "repro", "train")
    assert_same(slow)
