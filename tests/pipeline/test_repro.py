"""Which stages run again, what they write, and what DVC shows of it."""

import json

from tests.support import browser
from tests.support.project import Project


def test_everything_the_pipeline_writes_is_committed_or_cached(reproduced: Project) -> None:
    assert reproduced("git", "status", "--short") == ""
    assert "up to date" in reproduced("dvc", "status")


def test_only_the_stages_run_that_depend_on_what_changed(project: Project) -> None:
    assert project.repro() == []
    project.set_param("download", "mirrors", ["https://example.com/"])
    assert project.repro() == ["download"]  # the data stay the same
    project.set_param("evaluate", "batch_size", 50)
    assert project.repro() == ["evaluate"]  # the scores stay the same
    project.set_param("plot", "dpi", 80)
    assert project.repro() == ["plot"]


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


@browser.needed
def test_without_a_network_the_page_of_plots_says_why_the_charts_are_missing(
    project: Project,
) -> None:
    project("dvc", "plots", "show", "--out", "page")
    path = project.folder / "page/index.html"
    with (
        browser.chromium() as chromium,
        browser.opened(chromium, path, complaints=True) as page,
    ):
        assert page.locator("#offline").is_visible()
        assert page.locator("img").count() == 6
        vega = "globalThis.vegaEmbed = () => {}"
        page.route("https://cdn.jsdelivr.net/**", lambda route: route.fulfill(body=vega))
        page.reload()
        assert not page.locator("#offline").is_visible()
