"""No stage runs code from a file, and none but download needs the network."""

from pathlib import Path

import pytest

from tests.invariance.conftest import Pipeline
from tests.support import runner

FORBID = "all_stages.forbid_pickles_and_connections()"


def test_no_stage_unpickles_or_opens_a_connection(
    pipeline: Pipeline, here: dict[str, str], tmp_path: Path
) -> None:
    """The stage download does not connect either, when the files are in MNIST_DIR."""
    assert pipeline(tmp_path / "run", FORBID) == here


@pytest.mark.parametrize(
    ("code", "event"),
    [
        ("import pathlib, pickle; pickle.loads(pickle.dumps(pathlib.Path()))", "pickle.find_class"),
        ("import requests; requests.get('http://127.0.0.1:9')", "socket."),
    ],
)
def test_a_process_that_unpickles_or_connects_would_end(code: str, event: str) -> None:
    hidden = f"try:\n    {code}\nexcept BaseException:\n    pass"
    process = runner.python("-c", f"from tests.invariance import all_stages\n{FORBID}\n{hidden}")
    assert process.returncode == 1
    assert f"Forbidden: {event}" in process.stderr
