import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from stages.common import files
from stages.common.errors import UserError
from stages.training import progress
from tests.support import posix, runner

RUN: dict[str, Any] = {"params": {"lr": 0.001}, "data": "ab12"}


def tensors(epoch: int) -> progress.Tensors:
    return {"weights": torch.arange(3) / 7 + epoch, "history": torch.tensor([[0.1]]).double()}


def leave(folder: Path, *epochs: int) -> None:
    """Keep what a run leaves that is killed after some epochs."""
    with suppress(InterruptedError), progress.kept(folder, RUN) as kept:
        for epoch in epochs:
            kept.keep(epoch, tensors(epoch))
        raise InterruptedError


def found(folder: Path, run: dict[str, Any] = RUN) -> Sequence[progress.Tensors]:
    with progress.kept(folder, run) as kept:
        return kept.epochs


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_run_finds_what_it_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert found(tmp_path / "a" / "b") == []
    assert capsys.readouterr().out == ""
    leave(tmp_path, 1, 2)
    for epoch, kept in enumerate(found(tmp_path), start=1):
        assert kept.keys() == tensors(epoch).keys()
        assert all(torch.equal(kept[name], tensor) for name, tensor in tensors(epoch).items())
    assert epoch == 2
    assert capsys.readouterr().out == "Resuming after epoch 2\n"


def test_a_resumed_run_adds_to_what_there_is(tmp_path: Path) -> None:
    leave(tmp_path, 1)
    leave(tmp_path, 2, 3)
    assert len(found(tmp_path)) == 3


def test_a_finished_run_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "progress"
    leave(folder, 1, 2)
    (folder / ".epoch-03.safetensors.1.tmp").touch()
    assert found(folder)
    assert names(tmp_path) == []


def test_other_files_in_the_folder_are_not_removed(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").touch()
    (tmp_path / "folder").mkdir()
    leave(tmp_path, 1)
    found(tmp_path)
    assert names(tmp_path) == ["folder", "metrics.json"]


def test_another_run_starts_afresh_and_removes_what_it_finds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leave(tmp_path, 1, 2)
    with progress.kept(tmp_path, {**RUN, "params": {"lr": 0.01}, "code": {}}) as kept:
        assert kept.epochs == []
        assert names(tmp_path) == ["lock", "process"]
    assert capsys.readouterr().out == (
        f"Starting afresh: the progress in {tmp_path} cannot be used:"
        " it is of a run with other params, code\n"
    )


@pytest.mark.parametrize("name", ["run.json", "epoch-01.safetensors", "epoch-02.safetensors"])
def test_a_damaged_byte_anywhere_means_a_fresh_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    folder = tmp_path / "progress"
    leave(folder, 1, 2)
    whole = {path: path.read_bytes() for path in folder.iterdir()}
    path = folder / name
    for position in range(0, len(whole[path]), 7):
        folder.mkdir(exist_ok=True)
        for other, content in whole.items():
            other.write_bytes(content)
        damaged = bytearray(whole[path])
        damaged[position] ^= 1
        path.write_bytes(damaged)
        assert found(folder) == []
        line = capsys.readouterr().out
        assert line.startswith("Starting afresh: ")
        assert line.count("\n") == 1


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"run": 1, "epochs": 2}'])
def test_a_file_that_is_no_manifest_means_a_fresh_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    leave(tmp_path, 1)
    (tmp_path / "run.json").write_bytes(content)
    assert found(tmp_path) == []
    assert capsys.readouterr().out.endswith("cannot be used: run.json is damaged\n")


def test_a_missing_file_means_a_fresh_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leave(tmp_path, 1, 2)
    (tmp_path / "epoch-01.safetensors").unlink()
    assert found(tmp_path) == []
    assert capsys.readouterr().out.endswith("epoch-01.safetensors is damaged\n")


def test_files_without_a_manifest_are_not_used(tmp_path: Path) -> None:
    leave(tmp_path, 1, 2)
    (tmp_path / "run.json").unlink()
    assert found(tmp_path) == []


@posix.only
@pytest.mark.parametrize("name", ["lock", "process", "run.json", "epoch-01.safetensors"])
def test_a_link_out_of_the_project_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = tmp_path / "project" / "progress"
    leave(folder, 1)
    target = (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(target)
    monkeypatch.setenv("DVC_ROOT", str(folder.parent))
    content = target.read_bytes()
    with pytest.raises(UserError, match=f"{name}: a link to {target}, outside of the project"):
        found(folder)
    assert target.read_bytes() == content


@posix.only
def test_a_folder_that_is_a_link_out_of_the_project_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project/progress").symlink_to(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "project"))
    with pytest.raises(UserError, match="outside of the project"):
        found(tmp_path / "project/progress")
    assert names(tmp_path) == ["project"]


def test_a_second_process_is_refused_and_told_the_first_ones_id(tmp_path: Path) -> None:
    hold = "\n".join([
        "import sys, pathlib",
        "from stages.training import progress",
        "with progress.kept(pathlib.Path(sys.argv[1]), {}):",
        "    print('holding', flush=True)",
        "    sys.stdin.read()",
    ])  # fmt: skip
    command = [sys.executable, "-c", hold, str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=runner.ROOT, stdin=pipe, stdout=pipe) as first:
        assert first.stdout
        assert first.stdout.readline().strip() == b"holding"
        with pytest.raises(UserError, match=f"process {first.pid} is training here"):
            found(tmp_path)
        first.kill()
    assert found(tmp_path) == []  # the lock ends with its process


@posix.only
def test_after_a_full_disk_it_warns_and_keeps_no_more_epochs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with suppress(InterruptedError), progress.kept(tmp_path, RUN) as kept:
        kept.keep(1, tensors(1))
        with posix.largest_file(100):
            kept.keep(2, tensors(2))
        kept.keep(3, tensors(3))
        raise InterruptedError
    assert capsys.readouterr().err.startswith(
        f"Warning: no more progress is kept: {tmp_path}/epoch-02.safetensors: cannot be written"
    )
    assert names(tmp_path) == ["epoch-01.safetensors", "lock", "process", "run.json"]
    assert len(found(tmp_path)) == 1


def test_the_fingerprint_holds_code_versions_and_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    run = progress.fingerprint(data="ab12")
    code = (runner.ROOT / "stages/training/progress.py").read_bytes()
    assert run["data"] == "ab12"
    assert run["code"]["training/progress.py"] == files.sha256(code)
    assert run["versions"]["torch"] == torch.__version__
    assert run["settings"]["MKL_CBWR"] == "AVX2"
    assert files.canonical_json(run)  # JSON can hold it


def test_the_code_is_that_of_the_stage_and_all_that_it_imports(tmp_path: Path) -> None:
    show = (
        "import sys; from stages import train; from stages.training import progress;"
        "print(*sorted(progress.fingerprint()['code']))"
    )
    process = runner.python("-c", show, folder=tmp_path)
    deps = runner.STAGES["train"]["deps"]
    expected = sorted(path.removeprefix("stages/") for path in deps if path.endswith(".py"))
    assert process.stdout.split() == expected


def test_the_folder_names_this_process_while_it_trains(tmp_path: Path) -> None:
    with progress.kept(tmp_path, RUN):
        assert (tmp_path / "process").read_text() == str(os.getpid())


def test_an_epoch_that_is_kept_is_not_kept_again(tmp_path: Path) -> None:
    leave(tmp_path, 1, 2)
    with suppress(InterruptedError), progress.kept(tmp_path, RUN) as kept:
        kept.keep(1, tensors(7))
        raise InterruptedError
    assert torch.equal(found(tmp_path)[0]["weights"], tensors(1)["weights"])
