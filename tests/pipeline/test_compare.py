"""`python -m tools.compare` on what the real `dvc` and `git` keep."""

import csv
import io
import json
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.support.project import Project

COMPARE = (sys.executable, "-m", "tools.compare")


@pytest.fixture(scope="module")
def compared(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone without a cache of a repository in which train.lr was lowered: in the last commit,
    and in the experiment `slow`. Not to be changed."""
    origin = reproduced.copy(tmp_path_factory.mktemp("compared"))
    origin("dvc", "exp", "run", "--name", "slow", "-S", "train.lr=0.001")
    origin("git", "commit", "--quiet", "--all", "--message=slow")
    origin("git", "clone", "--quiet", ".", "../clone")
    clone = Project(origin.folder.parent / "clone")
    clone("git", "fetch", "--quiet", "origin", "refs/exps/*:refs/exps/*")
    assert not (clone.folder / ".dvc/cache").exists()
    assert not (clone.folder / "data/MNIST/raw").exists()
    return clone


def correct(project: Project, revision: str, digit: str) -> list[bool]:
    """For each test image of a digit, or of all: is the prediction its label?"""
    table = project("git", "show", f"{revision}:metrics/predictions.csv")
    rows = csv.DictReader(io.StringIO(table))
    return [row["label"] == row["predicted"] for row in rows if digit in ("all", row["label"])]


def test_a_clone_without_cache_gives_the_report_and_its_counts_are_right(compared: Project) -> None:
    found = json.loads(compared(*COMPARE, "HEAD~1", "HEAD", "--json"))
    assert list(found["digits"]) == list("0123456789")
    for digit, row in {"all": found["overall"], **found["digits"]}.items():
        base, head = (correct(compared, revision, digit) for revision in ("HEAD~1", "HEAD"))
        pairs = [*zip(base, head, strict=True)]
        assert (row["base"]["correct"], row["head"]["correct"]) == (sum(base), sum(head))
        assert row["n"] == len(pairs)
        assert row["fixed"] == pairs.count((False, True))
        assert row["broken"] == pairs.count((True, False))
    assert found["verdict"] == "worse"
    assert found["params"] == {"train.lr": {"base": 0.05, "head": 0.001}}
    for side, name in (("base", "HEAD~1"), ("head", "HEAD")):
        assert found[side] == {"name": name, "commit": compared("git", "rev-parse", name).strip()}
    assert found["data"]["base"] == found["data"]["head"]
    assert found["weights"]["base"] != found["weights"]["head"]

    process = compared.run(*COMPARE, "HEAD~1", "HEAD", "--fail-on-regression")
    assert process.returncode == 1
    assert process.stdout.startswith(f"**{found['sentence']}**\n\n- From `HEAD~1` (`")
    assert "\n- `train.lr`: `0.05` → `0.001`\n" in process.stdout


def test_an_experiment_goes_by_its_name_and_the_workspace_is_the_default(compared: Project) -> None:
    assert "Same predictions" in compared(*COMPARE, "slow")
    assert compared(*COMPARE, "slow", "HEAD~1").startswith("**This network is better: ")


def test_the_pictures_need_mnist_and_nothing_else(compared: Project, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    command = (*COMPARE, "HEAD~1", "HEAD", f"--images={folder}")
    process = compared.run(*command)
    assert process.returncode == 1
    assert process.stdout == (
        "data/MNIST/raw/SHA256SUMS: not found; get the data with `dvc repro download`\n"
    )
    clone = compared.copy(tmp_path)
    origin = tmp_path / "project"
    shutil.copytree(origin / "data/MNIST/raw", clone.folder / "data/MNIST/raw")
    names = ["broken.png", "fixed.png", "training_curves.png"]
    shown = ", ".join(f"`{name}`" for name in names)
    assert clone(*command).endswith(f"\n\nPictures in `{folder}`: {shown}.\n")
    assert sorted(path.name for path in folder.iterdir()) == names
    for name in names:
        with Image.open(folder / name) as picture:
            assert len(picture.getcolors(2**24) or []) > 10  # not blank
