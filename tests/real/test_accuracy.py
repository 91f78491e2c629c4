"""What `dvc repro` has computed here, whatever its last bits are."""

import json

import pytest

from tests.support.outputs import MODEL
from tests.support.runner import ROOT


@pytest.mark.committed
@pytest.mark.real
@pytest.mark.skipif(not MODEL.exists(), reason="no weights here; make them with `dvc repro`")
def test_the_accuracy_is_that_of_the_default() -> None:
    """Twenty seeds gave 97.51 to 98.37 %, docs/recipes.md. With the 95 % interval of a score on
    10,000 images, another machine's last bits stay in this range; the recipe `sprint` does not."""
    metrics = json.loads((ROOT / "metrics/metrics.json").read_text(encoding="utf-8"))
    assert 0.975 <= metrics["test"]["accuracy"] <= 0.987
