"""No stage runs code from a file, and none but download needs the network."""

from pathlib import Path

from tests.invariance.conftest import Pipeline

FORBID = "all_stages.forbid_pickles_and_connections()"


def test_no_stage_unpickles_or_opens_a_connection(
    pipeline: Pipeline, here: dict[str, str], tmp_path: Path
) -> None:
    """The stage download does not connect either, when the files are in MNIST_DIR."""
    assert pipeline(tmp_path / "run", FORBID) == here
