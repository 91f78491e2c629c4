"""Files of a commit that were made to control a terminal, to end a tool in a traceback, or to add
lines of their own to a report: each is escaped, or named in one line."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.common.errors import printable
from tests.support.run_files import commit, git
from tests.support.runner import ROOT
from tools import verify
from tools.dvc_files import Pipeline
from tools.git import find, resolve
from tools.markdown import code
from tools.terminal import columns

CONTROL = "\x1b[2J\x1b[8m\x9b\u202e"
ESCAPED = r"\x1b[2J\x1b[8m\x9b\u202e"
NESTED = f"{'[' * 3000}{']' * 3000}\n"
Edit = Callable[[str], str]


def test_one_function_escapes_what_controls_a_terminal() -> None:
    assert printable(f"é {CONTROL}\n9\udcff") == f"é {ESCAPED}\\n9\\udcff"
    assert code(CONTROL) == f"`{ESCAPED}`"
    assert columns([[CONTROL, "x"]], "<<") == f"{ESCAPED}  x"


def compare(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.compare", "HEAD~1", "HEAD", *options],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize(
    ("path", "edit", "said"),
    [
        ("metrics/predictions.csv", lambda text: text.replace("3,3", "9" * 23 + ",3", 1), "Overf"),
        ("params.yaml", lambda text: f"{text}x: {NESTED}", "maximum recursion depth exceeded"),
        ("dvc.lock", lambda text: f"{text}x: {NESTED}", "maximum recursion depth exceeded"),
        ("dvc.lock", lambda text: text.replace("data/MNIST/raw", r'"a\uDCFF"'), "surrogates not"),
        ("dvc.lock", lambda text: text.replace("lr: 0.001", "lr: 2026-11-26"), "2026-11-26"),
        ("dvc.lock", lambda text: text.replace("lr: 0.001", "lr: .inf"), "Infinity"),
        ("dvc.lock", lambda text: text.replace("lr:", r'"\e[2J":'), "[2J"),
    ],
    ids=["label", "params", "lock", "bytes", "date", "inf", "control"],
)
def test_a_hostile_value_is_told_or_refused_in_one_line(path: str, edit: Edit, said: str) -> None:
    content = Path(path).read_text()
    Path(path).write_text(edit(content))
    assert Path(path).read_text() != content
    commit()
    for process in (compare(), compare("--json")):
        assert said in process.stdout + process.stderr
        assert "Traceback" not in process.stderr
        assert len(process.stderr.splitlines()) <= 1
        assert "\x1b" not in process.stdout + process.stderr


@pytest.mark.usefixtures("repository")
def test_a_name_in_metrics_is_escaped_in_the_report() -> None:
    metrics = json.loads(Path("metrics/metrics.json").read_text())
    Path("metrics/metrics.json").write_text(json.dumps(metrics | {f"{CONTROL}\n# Better": 1}))
    commit()
    report = compare().stdout
    assert f"`{ESCAPED} # Better`" in report
    assert CONTROL not in report
    assert "\n# Better" not in report


@pytest.mark.usefixtures("repository")
def test_files_with_any_name_are_told_from_those_that_a_run_writes(tmp_path: Path) -> None:
    """What `tools.verify` does before and after the run, without a run."""
    names = ["metrics/a\nb.png", "metrics/\udcff.png", 'metrics/"`.json']
    for name in names:
        Path(name).write_bytes(b"{}")
    commit()
    head = resolve("HEAD")
    assert find(head, names) == dict.fromkeys(names, b"{}")
    verify.remove_results(tmp_path, Pipeline.parse(Path("dvc.yaml").read_bytes()), [])
    assert not Path("metrics").exists()
    git("checkout", "HEAD", "metrics/metrics.json", "dvc.lock")  # the run
    changes = verify.describe_changes(head, tmp_path)
    for name in [*names, "metrics/epochs.csv"]:
        assert f"{name}: committed, but no stage writes it" in changes
    assert len(changes) == len(names) + 2
