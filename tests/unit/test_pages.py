"""README.md and the pages of docs/ say what is so: their commands, links, names and numbers."""

import ast
import fnmatch
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

from stages.common import tables
from stages.common.intervals import wilson
from stages.common.tables import History
from stages.model.network import Network, NetworkConfig
from stages.train import describe
from tests.support import commands
from tests.support.pages import ALL, PAGES, README, TOPICS, Command, Page
from tests.support.project import tracked_files
from tests.support.runner import ROOT
from tools.dvc_files import Lock

METRICS = json.loads((ROOT / "metrics/metrics.json").read_text(encoding="utf-8"))
ADAPTING, NOTEBOOK, PARAMETERS = (
    ROOT / "docs" / f"{name}.md" for name in ("adapting", "from-the-notebook", "parameters")
)
TRACKED = tracked_files()
FOLDERS = {name.partition("/")[0] for name in TRACKED if "/" in name} | {".progress", "page"}
OUTPUTS = Lock.parse((ROOT / "dvc.lock").read_bytes()).outputs  # MD5 by path
ENDINGS = {Path(name).suffix for name in [*TRACKED, *OUTPUTS]} - {""}
LONGEST = 25  # words in a sentence

each_page = pytest.mark.parametrize("page", PAGES, ids=str)
each_page_on_the_committed_run = pytest.mark.parametrize(
    "page", [page for page in PAGES if page.path != ADAPTING], ids=str
)


def percent(accuracy: float) -> str:
    return f"{100 * accuracy:.2f}"


def test_the_readme_is_read_in_three_minutes() -> None:
    assert len(README.text.splitlines()) <= 160


def test_the_readme_leads_to_every_page() -> None:
    assert {str(page) for page in TOPICS} <= {*README.links()}


@pytest.mark.parametrize("page", ALL, ids=str)
def test_a_sentence_is_short(page: Page) -> None:
    assert [text for text in page.sentences() if len(text.split()) > LONGEST] == []


@each_page
def test_each_command_is_known_to_its_tool(page: Page) -> None:
    for command in page.commands():
        for words in command.words():
            assert not commands.complaint(words), command.text


@each_page
def test_each_command_in_a_sentence_is_known_to_its_tool(page: Page) -> None:
    """It may lack what every command needs, as `dvc exp apply` lacks the experiment."""
    tools = tuple(f"{name} " for name in commands.CHECKS)
    for code in page.code():
        if code.startswith(tools):
            for words in Command(code).words():
                complaints = [commands.complaint([*words, *["X"] * n]) for n in range(4)]
                assert "" in complaints, f"{code}: {complaints[0]}"


@pytest.mark.parametrize("page", ALL, ids=str)
def test_each_link_leads_somewhere(page: Page) -> None:
    for link in page.links():
        address, _, anchor = link.partition("#")
        if "://" not in address:
            target = (page.path.parent / address).resolve() if address else page.path
            assert target.exists(), link
            assert target.is_relative_to(ROOT), link
            assert not anchor or anchor in Page(target).anchors(), link


@pytest.mark.parametrize("page", ALL, ids=str)
def test_code_that_links_to_a_module_is_a_name_in_it(page: Page) -> None:
    for code, link in page.linked_code():
        path = page.path.parent / link
        if path.suffix == ".py" and "/" not in code and not code.endswith(".py"):
            assert code.removesuffix("()") in names(path), link


def names(path: Path) -> set[str]:
    """The functions, classes and values that a module defines: `f`, `Class`, `Class.f`."""
    found = set()
    for node in ast.parse(path.read_bytes()).body:
        found |= defined(node)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{name}" for inner in node.body for name in defined(inner)}
    return found


def defined(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Assign):
        return {ast.unparse(target) for target in node.targets}
    if isinstance(node, ast.AnnAssign):
        return {ast.unparse(node.target)}
    return set()


@each_page
def test_each_path_is_there_or_can_be_made(page: Page) -> None:
    of_page = {word for command in page.commands() for words in command.words() for word in words}
    of_page |= {Path(word).name for word in of_page} | {fence.file for fence in page.fences()}
    for code in page.code():
        path = code.removesuffix("/")
        if looks_like_a_path(path) and not of_page & {code, path}:
            assert is_there(path) or can_be_made(code), code


def looks_like_a_path(code: str) -> bool:
    if not re.fullmatch(r"[\w.*-]+(/[\w.*-]+)*", code):
        return False
    first, *rest = code.split("/")
    return first in FOLDERS if rest else Path(code).suffix in ENDINGS


def is_there(path: str) -> bool:
    """A tracked file or a folder of such, by its whole path or by its name alone; words in
    capitals and * stand for anything."""
    pattern = re.sub(r"\b[A-Z]+\b", "*", path)
    known = [*TRACKED, *OUTPUTS]
    known += [folder.as_posix() for name in known for folder in Path(name).parents]
    return path in known or any(
        fnmatch.fnmatch(name if "/" in path else Path(name).name, pattern) for name in known
    )


def can_be_made(path: str) -> bool:
    """What git ignores is an output, or nobody keeps it."""
    command = ["git", "check-ignore", "--quiet", path]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


@each_page
def test_each_parameter_is_in_the_file(page: Page) -> None:
    keys = {*flat(YAML(typ="safe", pure=True).load(ROOT / "params.yaml"))}
    groups = {key.partition(".")[0] for key in keys}
    for code in page.code():
        if re.fullmatch(r"[a-z]+(\.\w+)+", code) and code.partition(".")[0] in groups:
            parts = any(key == code or key.startswith(f"{code}.") for key in keys)
            assert parts or is_there(code), code


def flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """The keys of nested groups in one: `train.augment.degrees`."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: value}
    return found


def test_every_parameter_has_a_row_with_its_default() -> None:
    params = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
    params["download"]["sha256"] = None  # four digests, a row for all
    rows = {row[0]: row[1] for row in Page(PARAMETERS).rows()}
    values = flat(params)
    assert {key for key in rows if "." in key} == set(values)
    for key, value in values.items():
        if isinstance(value, int | float):
            assert rows[key] == json.dumps(value)


@each_page_on_the_committed_run
def test_the_metrics_are_the_committed_ones(page: Page) -> None:
    for line in page.shown():
        match line.split():
            case ["metrics/metrics.json", key, base, *_] if "." in key:
                assert base == str(round(flat(METRICS)[key], 5))  # as `dvc metrics diff` shows it
            case ["workspace" | "main", "-", accuracy, *_]:
                assert accuracy == str(round(METRICS["test"]["accuracy"], 5))
    for accuracy in re.findall(r"([\d.]+) % of the 10,000 test images", " ".join(page.sentences())):
        assert accuracy == percent(METRICS["test"]["accuracy"])


@each_page_on_the_committed_run
def test_the_digests_are_the_committed_ones(page: Page) -> None:
    for line in page.shown():
        match line.split():
            case [path, expected, got, "yes"]:
                assert expected == got == OUTPUTS[path.removesuffix("/")].removesuffix(".dir")


@each_page_on_the_committed_run
def test_a_comparison_starts_from_the_committed_predictions(page: Page) -> None:
    predictions = pd.read_csv(ROOT / "metrics/predictions.csv")
    correct = predictions["label"] == predictions["predicted"]
    for command in page.commands():
        if re.match(r"python -m tools\.compare (main|HEAD) ", command.text):
            for line in command.output:
                if match := re.match(r"\| (all|\d) +\| +([\d,]+) \| +([^|]+?) \|", line):
                    digit, n, shown = match.groups()
                    group = (
                        correct if digit == "all" else correct[predictions["label"] == int(digit)]
                    )
                    low, high = wilson(group.sum(), len(group))
                    assert n == f"{len(group):,}"
                    assert shown == f"{percent(group.mean())} ({percent(low)}-{percent(high)})"
                elif match := re.match(r"\*\*[\w ]+: ([\d.]+) % →", line):
                    assert match[1] == percent(correct.mean())


def test_the_lines_of_a_training_are_the_committed_ones() -> None:
    history = tables.read(ROOT / "metrics/history.csv", History)
    printed = {describe(History(*row)) for row in history.itertuples(index=False)}
    shown = {line for page in PAGES for line in page.shown() if line.startswith("[Epoch: ")}
    assert shown
    assert shown <= printed


def test_the_losses_beside_the_notebook_are_the_committed_ones() -> None:
    history = pd.read_csv(ROOT / "metrics/history.csv")
    table = [re.fullmatch(r"(\d), (\d+)", row[0]) for row in Page(NOTEBOOK).rows()]
    rows = [
        (*match.groups(), row[2])
        for match, row in zip(table, Page(NOTEBOOK).rows(), strict=True)
        if match
    ]
    assert len(rows) == len(history) == 20
    for epoch, batch, shown in rows:
        at = (history["epoch"] == int(epoch)) & (history["batch"] == int(batch))
        assert shown == f"{history.loc[at, 'loss'].item():.3f}"


def test_the_accuracies_beside_the_notebook_are_the_committed_ones() -> None:
    rows = {row[0]: row[-1] for row in Page(NOTEBOOK).rows()}
    assert rows["all digits"] == f"{percent(METRICS['test']['accuracy'])} %"
    for digit, accuracy in METRICS["per_digit"].items():
        assert rows[digit] == f"{percent(accuracy)} %"


def test_the_last_loss_is_within_a_fifth_of_the_notebooks() -> None:
    history = pd.read_csv(ROOT / "metrics/history.csv")
    assert abs(history["loss"].iloc[-1] / 0.065 - 1) < 0.2


def test_the_network_has_as_many_parameters_as_the_pages_say(config: NetworkConfig) -> None:
    n = sum(parameter.numel() for parameter in Network(config).parameters())
    assert re.findall(r"(\d[\d,]*) parameters", Page(NOTEBOOK).text) == [f"{n:,}"]
