"""Predictions with the weights of another revision, through the real DVC."""

import json
import re
import shutil
import sys

import pytest
from PIL import Image

from tests.support import tiny
from tests.support.project import Project
from tools.dvc_files import md5

PREDICT = (sys.executable, "-m", "tools.predict", "--json", "digit.png")


def test_rev_takes_the_weights_of_that_revision(project: Project) -> None:
    image = tiny.digits(1, seed=2)[0][0, ..., 0]
    Image.fromarray(image).save(project.folder / "digit.png")
    expected = json.loads(project(*PREDICT))
    project("git", "tag", "v1.0.0")
    short = project("git", "rev-parse", "HEAD")[:7]
    model = project.folder / "models/model.safetensors"
    model.unlink()  # and not overwritten: it may be a link to DVC's cache
    model.write_bytes(b"")
    assert "models/model.safetensors: not a whole" in project.run(*PREDICT).stdout
    assert json.loads(project(*PREDICT, "--rev=v1.0.0")) == expected

    shutil.rmtree(project.folder / ".dvc/cache")
    lost = project.run(*PREDICT, "--rev=v1.0.0")
    assert lost.returncode == 1
    assert lost.stdout == (
        f"models/model.safetensors of v1.0.0 ({short}): in neither DVC's cache nor a remote; get it"
        " with `dvc pull` or `dvc exp pull`, or check that revision out and make it with"
        " `dvc repro train`\n"
    )


def test_rev_refuses_what_is_not_in_the_lock_of_that_revision(project: Project) -> None:
    Image.new("L", (28, 28)).save(project.folder / "digit.png")
    project("git", "tag", "v1.0.0")
    digest = md5((project.folder / "models/model.safetensors").read_bytes())
    cached = project.folder / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    cached.unlink()
    shutil.copy(project.folder / "models/checkpoints/epoch-01.safetensors", cached)
    refused = project.run(*PREDICT, "--rev=v1.0.0")
    assert refused.returncode == 1
    assert refused.stdout.startswith("models/model.safetensors: not the file that dvc.lock of v1.0")


@pytest.mark.slow
def test_weights_of_another_branch_are_refused_until_dvc_checkout(project: Project) -> None:
    Image.fromarray(tiny.digits(1, seed=2)[0][0, ..., 0]).save(project.folder / "digit.png")
    ours = project(*PREDICT)
    project("git", "checkout", "--quiet", "-b", "other")
    project.set_param("train", "epochs", 1)
    project.repro()
    project("git", "commit", "--quiet", "--all", "--message=one epoch")
    theirs = project(*PREDICT)
    project("git", "checkout", "--quiet", "main")
    for command in (PREDICT, ("python", "-m", "tools.export", "x"), ("python", "-m", "tools.page")):
        refused = project.run(*command)
        assert refused.returncode == 1
        assert re.fullmatch(
            r"models/model\.safetensors: .* run `dvc checkout` .*\n", refused.stdout
        )
    assert not list(project.folder.glob("x")) + list(project.folder.glob("page"))
    assert project(*PREDICT, "--model=models/model.safetensors") == theirs  # named by hand
    project("dvc", "checkout")
    assert project(*PREDICT) == ours != theirs
