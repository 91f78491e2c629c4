"""`python -m tools.compare` on what the real `dvc` and `git` keep."""

import csv
import io
import json
import shutil
import sys
from fractions import Fraction
from math import comb, sqrt
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pytest
from PIL import Image

from tests.support.project import Project

exactly = 1e-12


@pytest.fixture(scope="module")
def compared(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone without a cache of a repository in which train.lr was lowered: in the last commit,
    and in the experiment `slow`. Not to be changed."""
    parent = tmp_path_factory.mktemp("compared")
    shutil.copytree(reproduced.folder.parent, parent, dirs_exist_ok=True, symlinks=True)
    origin = Project(parent / reproduced.folder.name)
    origin("dvc", "exp", "run", "--name", "slow", "-S", "train.lr=0.001")
    origin("git", "commit", "--quiet", "--all", "--message=slow")
    origin("git", "clone", "--quiet", ".", "../clone")
    clone = Project(parent / "clone")
    clone("git", "fetch", "--quiet", "origin", "refs/exps/*:refs/exps/*")
    assert not (clone.folder / ".dvc/cache").exists()
    assert not (clone.folder / "data/MNIST/raw").exists()
    return clone


def compare(project: Project, *arguments: str) -> str:
    return project(sys.executable, "-m", "tools.compare", *arguments)


def rows(project: Project, revision: str) -> list[tuple[int, int]]:
    """Label and prediction of each test image."""
    table = project("git", "show", f"{revision}:metrics/predictions.csv")
    return [
        (int(row["label"]), int(row["predicted"])) for row in csv.DictReader(io.StringIO(table))
    ]


def expected(base: list[tuple[int, int]], head: list[tuple[int, int]]) -> dict[str, Any]:
    """One row of the report, without SciPy: exact fractions, and Wilson's formula."""
    pairs = [(a == label, b == label) for (label, a), (_, b) in zip(base, head, strict=True)]
    fixed, broken = pairs.count((False, True)), pairs.count((True, False))
    flips = fixed + broken
    tail = sum(Fraction(comb(flips, k), 2**flips) for k in range(min(fixed, broken) + 1))
    row: dict[str, Any] = {
        "n": len(pairs),
        "fixed": fixed,
        "broken": broken,
        "change": 100 * (fixed - broken) / len(pairs),
        "p": float(min(Fraction(1), 2 * tail)),
    }
    z, n = NormalDist().inv_cdf(0.975), len(pairs)
    for side, correct in zip(("base", "head"), map(sum, zip(*pairs, strict=True)), strict=True):
        p = correct / n
        middle = (correct + z * z / 2) / (n + z * z)
        half = z * sqrt(n) / (n + z * z) * sqrt(p * (1 - p) + z * z / (4 * n))
        interval = {"low": middle - half, "high": middle + half}
        row[side] = {"correct": correct, "n": n, "accuracy": p, **interval}
    return row


def test_a_clone_without_cache_gives_the_report_and_the_numbers_are_right(
    compared: Project,
) -> None:
    found = json.loads(compare(compared, "HEAD~1", "HEAD", "--json"))
    base, head = rows(compared, "HEAD~1"), rows(compared, "HEAD")
    digits = sorted({label for label, _ in base})
    assert list(found["digits"]) == list(map(str, digits))
    wanted = {"all": expected(base, head)}
    for digit in digits:
        wanted[str(digit)] = expected(
            [row for row in base if row[0] == digit], [row for row in head if row[0] == digit]
        )
    for name, row in wanted.items():
        shown = found["overall"] if name == "all" else found["digits"][name]
        for key, value in row.items():
            near = 0 if key == "p" else exactly  # p-values are small: only the ratio tells
            assert shown[key] == pytest.approx(value, rel=exactly, abs=near)
    assert found["verdict"] == "worse"
    assert found["params"] == {"train.lr": {"base": 0.05, "head": 0.001}}

    report = compare(compared, "HEAD~1", "HEAD")
    assert report.startswith(f"**{found['sentence']}**\n\n- From `HEAD~1` (`")
    assert "\n- `train.lr`: `0.05` → `0.001`\n" in report


def test_an_experiment_goes_by_its_name_and_the_workspace_is_the_default(
    compared: Project,
) -> None:
    assert "Same predictions" in compare(compared, "slow")
    report = compare(compared, "slow", "HEAD~1")
    assert report.startswith("**This network is better: ")
    assert "\n- `train.lr`: `0.001` → `0.05`\n" in report


def test_a_regression_fails_the_command(compared: Project) -> None:
    command = (sys.executable, "-m", "tools.compare", "--fail-on-regression")
    assert compared.run(*command, "HEAD~1", "HEAD").returncode == 1


def test_the_pictures_need_mnist_and_nothing_else(compared: Project, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    arguments = (sys.executable, "-m", "tools.compare", "HEAD~1", "HEAD", f"--images={folder}")
    process = compared.run(*arguments)
    assert process.returncode == 1
    assert process.stdout == (
        "data/MNIST/raw/SHA256SUMS: not found; get the data with `dvc repro download`\n"
    )
    origin = compared.folder.parent / "project"
    shutil.copytree(compared.folder, tmp_path / "clone")
    shutil.copytree(origin / "data/MNIST/raw", tmp_path / "clone/data/MNIST/raw")
    report = Project(tmp_path / "clone")(*arguments)
    assert report.endswith(
        f"\nPictures in `{folder}`: `broken.png`, `fixed.png`, `training_curves.png`.\n"
    )
    for path in folder.iterdir():
        with Image.open(path) as picture:
            assert len(picture.getcolors(2**24) or []) > 10  # not blank
    assert len(list(folder.iterdir())) == 3


def test_make_compares_with_the_last_commit_or_any_other(project: Project) -> None:
    environment = (f"VENV={sys.prefix}", f"--old-file={sys.prefix}/.run")  # as it is
    assert "tools.compare 'HEAD' 'workspace'" in project("make", *environment, "-n", "compare")
    assert "From `main` (" in project("make", *environment, "compare", "BASE=main", "HEAD=HEAD")
