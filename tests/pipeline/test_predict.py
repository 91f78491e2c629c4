"""Predictions with the weights of another revision, through the real DVC."""

import json
import shutil
import sys

from PIL import Image

from tests.support import tiny
from tests.support.project import Project

PREDICT = (sys.executable, "-m", "tools.predict", "--json", "digit.png")


def test_rev_takes_the_weights_of_that_revision(project: Project) -> None:
    image = tiny.digits(1, seed=2)[0][0]
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
