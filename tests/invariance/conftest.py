"""The files that all stages write on tiny data, on this machine."""

import pytest

from tests.support import tiny
from tests.support.invariance import Pipeline


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    folder = tmp_path_factory.mktemp("tiny")
    return Pipeline(folder, tiny.write(folder))


@pytest.fixture(scope="session")
def here(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digests on this machine, with two workers."""
    digests = pipeline(tmp_path_factory.mktemp("here") / "run", PIPELINE_WORKERS="2")
    # params.yaml, 5 data, 3 weights, first images, 4 tables and metrics, 7 pictures
    assert len(digests) == 21
    return digests
