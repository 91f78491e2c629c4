"""A stage that has read something looks again at its end."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.common import files, mnist
from stages.common.errors import UserError
from tests.support import posix, runner
from tools.yaml_files import set_values

EDITS: dict[str, dict[str, Any]] = {
    "download": {"connect_timeout": 7},
    "train": {"lr": 0.02},
    "evaluate": {"batch_size": 70},
    "plot": {"dpi": 70},
}


@pytest.fixture
def edit(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Call a function when a stage writes its first file."""

    def before_the_first_write(function: Callable[[], object]) -> None:
        pending = [function]
        write = files.write

        def edited(path: Path, content: bytes) -> None:
            while pending:
                pending.pop()()
            write(path, content)

        monkeypatch.setattr(files, "write", edited)

    return before_the_first_write


@pytest.mark.parametrize("stage", runner.STAGES)
def test_a_stage_whose_params_change_while_it_runs_fails(
    copied: Path,
    edit: Callable[[Callable[[], object]], None],
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
) -> None:
    data = shutil.copytree(copied / runner.DATA, copied / "mnist")
    monkeypatch.setenv("MNIST_DIR", str(data))
    params = copied / "params.yaml"
    set_values(params, {"download.sha256": mnist.read_digests(data), "train.epochs": 1})
    ((key, value),) = EDITS[stage].items()
    edit(lambda: set_values(params, {f"{stage}.{key}": value}))
    with pytest.raises(UserError, match=f"^params.yaml: {stage}.{key}: changed after"):
        runner.run(copied, stage)
    runner.run(copied, stage)  # with the new value
    edit(lambda: params.write_text("<<<<<<< HEAD"))
    with pytest.raises(UserError, match=r"^params.yaml: .*: changed after"):
        runner.run(copied, stage)


@pytest.mark.parametrize(
    "name",
    [
        "models/model.safetensors",
        "models/checkpoints/epoch-02.safetensors",
        f"{runner.DATA}/t10k-labels-idx1-ubyte",
    ],
)
@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(b"other")])
def test_an_input_that_changes_is_named(
    copied: Path,
    edit: Callable[[Callable[[], object]], None],
    name: str,
    change: Callable[[Path], object],
) -> None:
    edit(lambda: change(copied / name))
    with pytest.raises(UserError, match=f"{name}(, .*)?: changed after"):
        runner.run(copied, "evaluate")


def test_what_a_stage_does_not_read_may_change(
    copied: Path, edit: Callable[[Callable[[], object]], None]
) -> None:
    edit(lambda: runner.write_params(copied, train={"lr": 7.0}, plot={"dpi": 50}))
    runner.run(copied, "evaluate")


def test_a_module_that_changes_while_it_is_imported_is_seen(tmp_path: Path) -> None:
    """In the seconds that PyTorch's import takes."""
    shutil.copytree(runner.ROOT / "stages", tmp_path / "stages")
    shutil.copy(runner.ROOT / "requirements-stages.txt", tmp_path)
    code = (
        "import stages, pathlib; from stages.common import inputs\n"
        "path = pathlib.Path('stages/plot.py'); path.write_text(path.read_text() + '# edited')\n"
        "import stages.plot\n"
        "inputs.guarded(lambda: None)()"
    )
    process = runner.python("-c", code, folder=tmp_path)
    assert "UserError: stages/plot.py: changed after" in process.stderr


@posix.only
def test_a_cache_that_cannot_be_written_is_found_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.refuse_unwritable_cache()  # there is no DVC here
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    (tmp_path / ".dvc").mkdir()
    files.refuse_unwritable_cache()
    assert (tmp_path / ".dvc/cache").is_dir()
    (tmp_path / ".dvc/config").write_text(
        "[cache]\n    dir = ../of all\n['remote \"x\"']\n    url = %x\n"
    )
    (tmp_path / "of all").write_text("not a folder")
    with pytest.raises(UserError, match="of all: DVC's cache cannot be written"):
        files.refuse_unwritable_cache()
    (tmp_path / ".dvc/config.local").write_text("[cache]\n    dir = /dev/null/cache\n")
    with pytest.raises(UserError, match="/dev/null/cache: DVC's cache cannot be written"):
        files.refuse_unwritable_cache()


def test_the_history_is_whole_though_git_has_changed_it(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `git stash` does while a training runs."""
    path = copied / "metrics/history.csv"
    expected, append = path.read_bytes(), files.append

    def changed_before(path: Path, line: bytes) -> None:
        path.write_bytes(b"old\n")
        append(path, line)

    monkeypatch.setattr(files, "append", changed_before)
    runner.run(copied, "train")
    assert path.read_bytes() == expected
