"""Which stages run again, what they write, and what DVC shows of it."""

import json
from pathlib import Path

import pytest

from tests.support import browser
from tests.support.project import Project
from tests.support.runner import DVC, digests

NEW_MODEL = ["train", "evaluate", "plot"]  # the stages that run for it


def test_everything_the_pipeline_writes_is_committed_or_cached(reproduced: Project) -> None:
    assert reproduced("git", "status", "--short") == ""
    assert "up to date" in reproduced("dvc", "status")
    tracked = reproduced("git", "ls-files", "data", "models", "metrics").split()
    assert tracked == [
        "data/MNIST/.gitignore",
        "metrics/epochs.csv",
        "metrics/history.csv",
        "metrics/metrics.json",
        "metrics/plots/confusion_matrix.png",
        "metrics/plots/mistakes.png",
        "metrics/plots/per_digit_accuracy.png",
        "metrics/plots/predictions.png",
        "metrics/plots/samples.png",
        "metrics/plots/training_curves.png",
        "metrics/predictions.csv",
        "models/.gitignore",
    ]


def test_nothing_runs_when_nothing_changed(project: Project) -> None:
    assert project.repro() == []


@pytest.mark.parametrize(
    ("group", "key", "value", "expected"),
    [
        ("download", "connect_timeout", 5, ["download"]),  # the data stay the same
        pytest.param("model", "hidden_units", 20, NEW_MODEL, marks=pytest.mark.slow),
        ("evaluate", "batch_size", 50, ["evaluate"]),  # the scores stay the same
        ("plot", "dpi", 80, ["plot"]),
    ],
)
def test_a_parameter_reruns_the_stages_that_depend_on_it(
    project: Project, group: str, key: str, value: object, expected: list[str]
) -> None:
    project.set_param(group, key, value)
    assert project.repro() == expected


def test_the_same_commit_gives_the_same_bytes_again_with_another_number_of_workers(
    project: Project,
) -> None:
    process = project.run("dvc", "repro", "--force", PIPELINE_WORKERS="1")
    assert "workers: 1" in process.stdout
    assert project("git", "status", "--short") == ""


def test_metrics_diff_and_plots_diff_show_what_changed(project: Project) -> None:
    project.set_param("train", "lr", 0.001)
    assert project.repro() == NEW_MODEL
    changes = json.loads(project("dvc", "metrics", "diff", "--json"))["metrics/metrics.json"]
    assert changes["test.accuracy"]["diff"] < 0
    assert changes["test.loss"]["diff"] > 0
    assert {key for key in changes if key.startswith("per_digit.")}
    assert "test.accuracy" in project("dvc", "metrics", "diff")

    project("dvc", "plots", "diff", "HEAD", "--out", "page")
    names = {path.name for path in Path(project.folder, "page", "static").iterdir()}
    assert {"HEAD_metrics_plots_mistakes.png", "workspace_metrics_plots_mistakes.png"} <= names
    assert "confusion" in (project.folder / "page" / "index.html").read_text()


def test_plots_show_has_the_curves_the_confusions_and_the_pictures(project: Project) -> None:
    shown = json.loads(project("dvc", "plots", "show", "--json"))["data"]
    pictures = {f"metrics/plots/{path.name}" for path in project.folder.glob("metrics/plots/*.png")}
    assert len(pictures) == 6
    assert set(shown) == pictures | {
        "metrics/history.csv",
        "metrics/epochs.csv",
        "metrics/predictions.csv",
        "training accuracy",
    }


@pytest.mark.skipif(not browser.CHROMIUM, reason=browser.MISSING)
def test_without_a_network_the_page_of_plots_says_why_the_charts_are_missing(
    project: Project,
) -> None:
    project("dvc", "plots", "show", "--out", "page")
    path = project.folder / "page/index.html"
    with (
        browser.chromium() as chromium,
        browser.opened(chromium, path, complaints=True) as page,
    ):
        assert page.locator("#offline").inner_text().startswith("The charts are missing: they need")
        assert page.locator("img").count() == 6
        vega = "globalThis.vegaEmbed = () => {}"
        page.route("https://cdn.jsdelivr.net/**", lambda route: route.fulfill(body=vega))
        page.reload()
        assert not page.locator("#offline").is_visible()


@pytest.mark.parametrize("name", DVC["artifacts"])
def test_dvc_finds_each_artifact_by_its_name_from_another_folder(
    project: Project, tmp_path: Path, name: str
) -> None:
    project("gto", "register", name, "--version", "v1.0.0")
    project("git", "clone", "--quiet", ".", "../clone")
    clone = Project(tmp_path / "clone")
    url = str(project.folder)
    clone("dvc", "artifacts", "get", url, name, "--rev", "v1.0.0", "--out", "../got")
    got, path = tmp_path / "got", project.folder / DVC["artifacts"][name]["path"]
    if path.is_file():
        assert got.read_bytes() == path.read_bytes()
    else:
        assert len(digests(got)) > 1
        assert digests(got) == digests(path)
