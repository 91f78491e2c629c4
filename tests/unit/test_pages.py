"""README.md and the pages of docs/ say what is so: their commands, links and numbers.
tests/real/test_pages.py runs the commands."""

import json
import re
from typing import Any

import pandas as pd
import pytest

from tests.support import commands
from tests.support.pages import PAGES, README, TOPICS, Command, Page
from tests.support.runner import ROOT
from tools.dvc_files import Lock
from tools.yaml_files import flatten, parse_yaml

pytestmark = pytest.mark.committed

CONTRIBUTING = Page(ROOT / "CONTRIBUTING.md")
DECISIONS = [Page(path) for path in sorted((ROOT / "docs/decisions").glob("*.md"))]
NOTEBOOK = Page(ROOT / "docs/from-the-notebook.md")
METRICS = json.loads((ROOT / "metrics/metrics.json").read_text(encoding="utf-8"))
ACCURACY = METRICS["test"]["accuracy"]
ON_THE_COMMITTED_RUN = [page for page in PAGES if page.path.name != "adapting.md"]


def percent(accuracy: float) -> str:
    return f"{100 * accuracy:.2f} %"


def test_the_readme_leads_to_every_page() -> None:
    assert {str(page) for page in TOPICS} <= {*README.links()}


@pytest.mark.parametrize("page", [*PAGES, CONTRIBUTING, *DECISIONS], ids=str)
def test_each_link_leads_somewhere(page: Page) -> None:
    for link in page.links():
        address, _, anchor = link.partition("#")
        if "://" not in address:
            target = (page.path.parent / address).resolve() if address else page.path
            assert target.exists(), link
            assert not anchor or anchor in Page(target).anchors(), link


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_each_command_is_known_to_its_tool(page: Page) -> None:
    """It may lack what it needs, as `dvc exp apply` in a sentence lacks the experiment."""
    tools = tuple(f"{name} " for name in commands.CHECKS)
    in_sentences = [Command(code) for code in page.code() if code.startswith(tools)]
    for command in [*page.commands(), *in_sentences]:
        for words in command.words():
            complaints = [commands.complaint([*words, *["X"] * n]) for n in range(6)]
            assert "" in complaints, f"{command.text}: {complaints[0]}"


def test_each_tool_and_each_target_is_on_a_page() -> None:
    told = "".join(page.text for page in [*PAGES, CONTRIBUTING])
    for path in (ROOT / "tools").rglob("*.py"):
        if "\ndef main(" in path.read_text(encoding="utf-8"):
            name = path.parent.name if path.stem == "__main__" else path.stem
            assert f"python -m tools.{name}" in told
    for name in commands.TARGETS:
        assert re.search(rf"make {name}[`\s]", told), name


def test_every_parameter_has_a_row_with_its_default() -> None:
    params = parse_yaml((ROOT / "params.yaml").read_bytes())
    params["download"]["sha256"] = None  # four digests, a row for all
    rows = {row[0]: row[1] for row in Page(ROOT / "docs/parameters.md").rows()}
    values = flatten(params)
    assert {key for key in rows if "." in key} == set(values)
    for key, value in values.items():
        if isinstance(value, int | float):
            assert rows[key] == json.dumps(value)


@pytest.mark.parametrize("page", ON_THE_COMMITTED_RUN, ids=str)
def test_the_metrics_and_the_digests_are_the_committed_ones(page: Page) -> None:
    outputs = Lock.parse((ROOT / "dvc.lock").read_bytes()).outputs  # MD5 by path
    for line in page.shown():
        match line.split():
            case ["metrics/metrics.json", key, base, *_] if "." in key:
                assert base == str(round(flatten(METRICS)[key], 5))  # `dvc metrics diff` rounds so
            case ["workspace" | "main", "-", accuracy, *_]:
                assert accuracy == str(round(ACCURACY, 5))
            case [path, expected, got, "yes"]:
                assert expected == got == outputs[path.removesuffix("/")].removesuffix(".dir")
    for accuracy in re.findall(r"([\d.]+ %) of the 10,000 test images", page.prose):
        assert accuracy == percent(ACCURACY)


def test_the_numbers_beside_the_notebook_are_the_committed_ones() -> None:
    shown: dict[str, Any] = {row[0]: row[-1] for row in NOTEBOOK.rows()}
    history = pd.read_csv(ROOT / "metrics/history.csv")
    for row in history.itertuples():
        assert shown[f"{row.epoch}, {row.batch}"] == f"{row.loss:.3f}"
    assert shown["all digits"] == percent(ACCURACY)
    for digit, accuracy in METRICS["per_digit"].items():
        assert shown[digit] == percent(accuracy)


def test_the_container_runs_a_target_of_make_and_has_the_extension_of_the_page() -> None:
    """No schema of this file comes with check-jsonschema, and nothing here runs it."""
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    assert container.keys() == {"name", "image", "postCreateCommand", "customizations"}
    assert commands.complaint(container["postCreateCommand"].split()) == ""
    extensions = container["customizations"]["vscode"]["extensions"]
    assert any(f"(`{name}`)" in Page(ROOT / "docs/experiments.md").text for name in extensions)
