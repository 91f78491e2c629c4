from pathlib import Path

import pytest

from stages.common.errors import UserError
from tools import trained
from tools.dvc_files import LOCK, md5


@pytest.mark.parametrize("other", [False, True])
def test_the_weights_must_be_those_of_the_lock(
    copied: Path, monkeypatch: pytest.MonkeyPatch, *, other: bool
) -> None:
    monkeypatch.chdir(copied)
    path = "models/model.safetensors"
    digest = "0" * 32 if other else md5((copied / path).read_bytes())
    entry = f"{{path: {path}, md5: '{digest}'}}"
    (copied / LOCK).write_text(f"stages: {{train: {{cmd: x, outs: [{entry}]}}}}")
    if other:
        with pytest.raises(UserError, match=rf"^{path}: .*dvc\.lock of workspace.* `dvc checkout`"):
            trained.load()
    else:
        trained.load()


def test_weights_that_dvc_does_not_track_are_not_compared(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(copied)
    trained.load()  # there is no dvc.lock
    (copied / LOCK).write_text("stages: {}")
    trained.load()
