"""What a killed training left is used bit for bit, or not at all."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from stages.common import files
from stages.common.errors import UserError
from stages.common.tables import History
from stages.model.network import Network
from stages.training import resume
from tests.support import posix, runner

RUN: dict[str, Any] = {"params": {"lr": 0.001}, "data": "ab12"}
ROWS = [History(1, 5, 5, 0.01, 1 / 3, 0.1), History(1, 7, 7, 0.01, 2 / 3, 0.1)]
OPTIMIZERS: dict[str, Callable[[Network], torch.optim.Optimizer]] = {
    "sgd": lambda network: torch.optim.SGD(network.parameters(), lr=0.1),
    "momentum": lambda network: torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9),
    "adam": lambda network: torch.optim.Adam(network.parameters()),  # two tensors, and a count
}


def step(network: Network, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    network(torch.linspace(-1, 1, 4 * 784).view(4, 1, 28, 28)).logsumexp(0).sum().backward()
    optimizer.step()


def keep(folder: Path, network: Network, *epochs: int) -> None:
    optimizer = OPTIMIZERS["momentum"](network)
    for epoch in epochs:
        step(network, optimizer)
        resume.keep(folder, epoch, RUN, network, optimizer, ROWS)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_restored_training_goes_on_with_the_same_bits(
    tmp_path: Path, network: Network, kind: str
) -> None:
    other = copy.deepcopy(network)
    optimizer, resumed = OPTIMIZERS[kind](network), OPTIMIZERS[kind](other)
    step(network, optimizer)
    resume.keep(tmp_path, 1, RUN, network, optimizer, ROWS)
    (state,) = resume.finished_epochs(tmp_path, RUN)
    assert resume.restore(state, other, resumed) == ROWS
    for _ in range(2):
        step(network, optimizer)
        step(other, resumed)
    for ours, expected in zip(other.parameters(), network.parameters(), strict=True):
        assert torch.equal(ours, expected)
        assert ours.stride() == expected.stride()
        for name, tensor in resumed.state[ours].items():
            if name == "momentum_buffer":  # an order of its own in memory could change bits
                assert tensor.stride() == ours.stride()


def test_a_run_finds_the_epochs_that_it_finished_and_a_finished_run_leaves_none(
    tmp_path: Path, network: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    assert resume.finished_epochs(tmp_path / "none", RUN) == []
    assert capsys.readouterr().out == ""
    keep(tmp_path, network, 1, 2, 4)  # without the third, the fourth is of no use
    assert len(resume.finished_epochs(tmp_path, RUN)) == 2
    assert capsys.readouterr().out == "Resuming after epoch 2\n"
    (tmp_path / ".epoch-03.safetensors.1.tmp").touch()
    (tmp_path / "notes.txt").touch()
    resume.clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_what_another_run_kept_is_not_used(
    tmp_path: Path, network: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(tmp_path, network, 1, 2)
    other = RUN | {"params": {"lr": 0.01}, "code": {}}
    assert resume.finished_epochs(tmp_path, other) == []
    assert capsys.readouterr().out == (
        f"Training again from epoch 1: {tmp_path / 'epoch-01.safetensors'} is of a run with other"
        " params, code\n"
    )


def test_a_damaged_byte_costs_its_epoch_and_those_after_it(
    tmp_path: Path, network: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(tmp_path, network, 1, 2)
    whole = resume.finished_epochs(tmp_path, RUN)
    path = tmp_path / "epoch-02.safetensors"
    content = path.read_bytes()
    header = int.from_bytes(content[:8], "little")
    for position in [*range(0, header, 5), *range(header, len(content), 1009), len(content) - 1]:
        damaged = bytearray(content)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        capsys.readouterr()
        found = resume.finished_epochs(tmp_path, RUN)
        if found != whole:  # a byte that nothing reads
            assert found == whole[:1]
            assert capsys.readouterr().out.startswith("Training again from epoch 2: ")
    for cut in (b"", content[:100], content[:-1]):
        path.write_bytes(cut)
        assert resume.finished_epochs(tmp_path, RUN) == whole[:1]


def test_a_second_process_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    hold = (
        "import sys, pathlib; from stages.training import resume\n"
        "with resume.locked(pathlib.Path(sys.argv[1])): print(flush=True); sys.stdin.read()"
    )
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", hold, str(tmp_path)]
    with subprocess.Popen(command, cwd=runner.ROOT, stdin=pipe, stdout=pipe) as first:
        assert first.stdout
        first.stdout.readline()
        with pytest.raises(UserError, match="another process is training here"):
            resume.locked(tmp_path).__enter__()
        first.kill()
    with resume.locked(tmp_path):
        pass


@posix.only
@pytest.mark.parametrize("name", ["progress", "progress/lock"])
def test_a_link_out_of_the_project_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    target, link = tmp_path / "target", tmp_path / "project" / name
    link.parent.mkdir(parents=True)
    target.mkdir() if name == "progress" else target.write_bytes(b"kept")
    link.symlink_to(target)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "project"))
    with pytest.raises(UserError, match="outside of the project"):
        resume.locked(tmp_path / "project/progress").__enter__()
    assert list(target.iterdir()) == [] if name == "progress" else target.read_bytes() == b"kept"


def test_the_fingerprint_holds_the_code_of_all_deps_versions_and_settings(tmp_path: Path) -> None:
    show = (
        "import os; os.environ['MKL_CBWR'] = 'AVX2'; from stages import train;"
        "from stages.training import resume; from stages.common import files; import sys;"
        "sys.stdout.buffer.write(files.canonical_json(resume.make_fingerprint(data='ab12')))"
    )
    run = json.loads(runner.python("-c", show, folder=tmp_path).stdout)
    deps = [path for path in runner.STAGES["train"]["deps"] if path.endswith(".py")]
    assert run["code"] == {path: files.sha256((runner.ROOT / path).read_bytes()) for path in deps}
    assert run["data"] == "ab12"
    assert run["versions"]["torch"] == torch.__version__
    assert run["settings"]["MKL_CBWR"] == "AVX2"
