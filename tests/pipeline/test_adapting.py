"""docs/adapting.md, followed to its end in a fresh clone: scikit-learn's digits in place of MNIST,
another layer, another metric, other names."""

import json

import pandas as pd
import pytest
from ruamel.yaml import YAML
from safetensors import safe_open

from stages.common import mnist
from tests.support import browser
from tests.support.follow import follow
from tests.support.pages import Page
from tests.support.project import ENVIRONMENT, Project, copy_tracked_files
from tests.support.runner import DATA, ROOT

pytestmark = pytest.mark.slow

PAGE = Page(ROOT / "docs/adapting.md")


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone in which all of it was done. Not to be changed."""
    folder = tmp_path_factory.mktemp("adapting")
    project = Project(folder / "project")
    copy_tracked_files(project.folder)
    project("git", "init", "--quiet", "--initial-branch=main")
    project("git", "add", "--all")
    project("git", "commit", "--quiet", "--message=as it is")
    (folder / "aside").mkdir()
    places = {"DVC_SITE_CACHE_DIR": str(folder / "site")}
    follow(PAGE, project.folder, folder / "aside", ENVIRONMENT | places)
    return project


def test_the_data_are_those_of_scikit_learn(adapted: Project) -> None:
    images, labels = mnist.load(adapted.folder / DATA, "test")
    assert len(images) == 500
    assert set(labels) == set(range(10))
    assert len(mnist.load(adapted.folder / DATA, "train")[0]) == 1_297


def test_the_network_is_accurate_and_has_another_layer(adapted: Project) -> None:
    metrics = json.loads((adapted.folder / "metrics/metrics.json").read_text())
    assert metrics["test"]["accuracy"] >= 0.98
    assert metrics["test"]["top_2"] > metrics["test"]["accuracy"]
    with safe_open(adapted.folder / "models/model.safetensors", "np") as tensors:
        assert tensors.get_slice("conv3.weight").get_shape() == [40, 20, 3, 3]


def test_everything_is_committed_and_has_its_new_names(adapted: Project) -> None:
    assert adapted("git", "status", "--short") == "?? small_digits/\n"
    assert "up to date" in adapted("dvc", "status")
    content = YAML(typ="safe", pure=True).load(adapted.folder / "dvc.yaml")
    assert list(content["artifacts"]) == ["small-images", "small-digits", "checkpoints"]


@pytest.mark.skipif(not browser.CHROMIUM, reason=browser.MISSING)
def test_the_web_page_reads_the_test_images_as_the_pipeline_did(adapted: Project) -> None:
    images, _ = mnist.load(adapted.folder / DATA, "test")
    predictions = pd.read_csv(adapted.folder / "metrics/predictions.csv")
    path = adapted.folder / "page/index.html"
    with browser.chromium() as chromium, browser.opened(chromium, path) as page:
        probabilities = browser.classify(page, images)
        browser.draw(page, 3)
        browser.settle(page)
        assert page.locator("#digit").inner_text() == "3"
    assert (probabilities.argmax(axis=1) == predictions["predicted"]).all()
    assert abs(probabilities.max(axis=1) - predictions["confidence"]).max() < 1e-4
