"""No stage runs code from a file, and none but download needs the network."""

from pathlib import Path

import pytest

from tests.support import runner
from tests.support.invariance import RUN, Pipeline

GUARD = "from tests.support import guard; guard.install();"


def test_no_stage_unpickles_or_opens_a_connection(
    pipeline: Pipeline, here: dict[str, str], tmp_path: Path
) -> None:
    """The stage download does not connect either, when the files are in MNIST_DIR."""
    assert pipeline(tmp_path / "run", code=f"{GUARD} {RUN}") == here


@pytest.mark.parametrize(
    ("code", "event"),
    [
        ("import pathlib, pickle; pickle.loads(pickle.dumps(pathlib.Path()))", "pickle.find_class"),
        ("import socket; socket.create_connection(('127.0.0.1', 9))", "socket.getaddrinfo"),
        ("import socket; socket.socket().connect(('127.0.0.1', 9))", "socket.connect"),
        ("import requests; requests.get('http://127.0.0.1:9')", "socket."),
    ],
)
def test_the_guard_ends_a_process_that_unpickles_or_connects(code: str, event: str) -> None:
    hidden = f"{GUARD}\ntry:\n    {code}\nexcept BaseException:\n    pass"
    process = runner.python("-c", hidden)
    assert process.returncode == 1
    assert f"Forbidden: {event}" in process.stderr
