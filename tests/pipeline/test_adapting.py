"""docs/adapting.md, followed to its end in a fresh clone: scikit-learn's digits in place of MNIST,
another layer, another metric, other names, and without the parts that a copy may delete."""

import json
import re
from pathlib import Path

import pytest
from safetensors import safe_open

from stages.common import mnist
from tests.support.follow import follow
from tests.support.pages import Page
from tests.support.project import ENVIRONMENT, Project, copy_tracked_files
from tests.support.runner import DATA, ROOT
from tools.yaml_files import parse_yaml

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.mark.committed
def test_a_copy_for_other_data_is_accurate_committed_and_has_its_own_names(tmp_path: Path) -> None:
    copy = Project(tmp_path / "project")
    copy_tracked_files(copy.folder)
    copy("git", "init", "--quiet", "--initial-branch=main")
    copy("git", "add", "--all")
    copy("git", "commit", "--quiet", "--message=as it is")
    (tmp_path / "aside").mkdir()
    places = {"DVC_SITE_CACHE_DIR": str(tmp_path / "site")}
    page = Page(ROOT / "docs/adapting.md")
    follow(page, copy.folder, tmp_path / "aside", ENVIRONMENT | places)

    images, labels = mnist.load(copy.folder / DATA, "test")
    assert len(images) == 500
    assert set(labels) == set(range(10))
    metrics = json.loads((copy.folder / "metrics/metrics.json").read_text())
    assert metrics["test"]["accuracy"] >= 0.98
    assert metrics["test"]["top_2"] > metrics["test"]["accuracy"]
    with safe_open(copy.folder / "models/model.safetensors", "np") as tensors:
        assert tensors.get_slice("conv3.weight").get_shape() == [40, 20, 3, 3]

    assert copy("git", "status", "--short") == "?? small_digits/\n"
    assert "up to date" in copy("dvc", "status")
    artifacts = parse_yaml((copy.folder / "dvc.yaml").read_bytes())["artifacts"]
    assert list(artifacts) == ["small-images", "small-digits", "checkpoints"]


def test_without_what_a_copy_may_delete_the_other_tests_pass(tmp_path: Path) -> None:
    """All are type-checked and collected. Those that name something that went are run."""
    copy = Project(tmp_path / "project")
    copy_tracked_files(copy.folder)
    copy("git", "init", "--quiet")
    copy("git", "add", "--all")
    copy("git", "commit", "--quiet", "--message=as it is")  # git rm needs it
    deleting = Page(ROOT / "docs/adapting.md").text.partition("## What to delete")[2]
    for command in re.findall(r"^\$ (.*)$", deleting, re.MULTILINE):
        copy("bash", "-c", command)
    deleted = copy("git", "diff", "--name-only", "--diff-filter=D", "HEAD~1", "HEAD").split()
    assert {"tools/page/__init__.py", "benchmarks/speed.py"} <= {*deleted}
    copy("python", "-m", "mypy")
    selected = ("-m", "not slow and not committed", "--quiet")
    copy("python", "-m", "pytest", "--collect-only", *selected)
    named = r"benchmarks|recipes/|tools[./]page|aarch64"
    naming = copy("git", "grep", "--files-with-matches", "-E", named, "--", "tests/*/test_*.py")
    print(copy("python", "-m", "pytest", "--numprocesses=2", *selected, *naming.split()))
