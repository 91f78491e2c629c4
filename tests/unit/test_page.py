import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.common import tables
from stages.common.errors import UserError
from stages.common.images import ImageFormat
from stages.model import numerics
from stages.model.network import Network, NetworkConfig
from stages.model.scoring import classify
from tests.support import runner, tiny
from tests.support.networks import unusual
from tests.support.run_files import git
from tools import trained
from tools.page import __main__ as page
from tools.page import commit, node, results

PREDICTIONS = pd.DataFrame(
    {
        "index": range(7),
        "label": [0, 0, 1, 1, 1, 9, 1],
        "predicted": [0, 1, 1, 1, 2, 1, 2],
        "confidence": [0.9, 0.7, 0.9, 0.6, 0.8, 0.8, 0.95],
    }
)


def test_only_mistakes_are_hot_in_the_confusion_matrix() -> None:
    cells = results.confusion(tables.count_confusions(PREDICTIONS, 10))
    assert [cell.images for cell in cells[1]] == [0, 2, 2, 0, 0, 0, 0, 0, 0, 0]
    assert [cell.heat for cell in cells[1]] == [0, 0, 5, 0, 0, 0, 0, 0, 0, 0]
    assert cells[9][1] == results.Cell(images=1, heat=4)
    assert {cell.heat for row in results.confusion(np.diag(range(10))) for cell in row} == {0}


def test_examples_come_by_cell_the_most_telling_first_and_not_too_many() -> None:
    # Of the ones taken for 2 the more confident, of the ones read as 1 the less.
    assert results.examples(PREDICTIONS)["index"].tolist() == [0, 1, 3, 2, 6, 4, 5]
    many = results.examples(pd.concat([PREDICTIONS] * 50))
    assert set(many.groupby(["label", "predicted"]).size()) == {results.EXAMPLES}


@pytest.fixture
def workspace(copied: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An evaluated workspace with a picture, the working directory. It is no git repository."""
    (copied / "metrics/plots").mkdir()
    shutil.copy(runner.ROOT / "metrics/plots/samples.png", copied / "metrics/plots")
    monkeypatch.chdir(copied)
    monkeypatch.setattr("sys.argv", ["tools.page"])
    return copied


def test_the_rates_are_those_of_the_metrics(workspace: Path) -> None:
    metrics = json.loads((workspace / "metrics/metrics.json").read_text())
    shown = results.read(*trained.read_tests())
    assert shown["overall"].accuracy == metrics["test"]["accuracy"]
    per_digit = {str(key): round(rate.accuracy, 6) for key, rate in shown["per_digit"].items()}
    assert per_digit == metrics["per_digit"]


@pytest.mark.parametrize(
    ("missing", "remedy"),
    [
        ("data", "`dvc repro download`"),
        ("metrics/plots", "`dvc repro`"),
        ("metrics/epochs.csv", "not a git repository"),  # the page does not read this file
    ],
)
def test_what_is_missing_is_one_line(workspace: Path, missing: str, remedy: str) -> None:
    (workspace / missing).rename(workspace / "away")
    with pytest.raises(UserError, match=f"^.*{remedy}.*$"):
        page.main()
    assert not (workspace / "page").exists()


def test_predictions_of_other_images_are_refused(workspace: Path) -> None:
    path = workspace / "metrics/predictions.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(UserError, match=r"its 199 labels are not those of the 200 test images"):
        page.main()


@pytest.mark.parametrize("make", [Network, unusual])
def test_its_script_computes_what_pytorch_computes(
    config: NetworkConfig,
    image_format: ImageFormat,
    make: Callable[[NetworkConfig, ImageFormat], Network],
) -> None:
    network = make(config, image_format).eval().requires_grad_(False)
    images, _ = tiny.digits(7, seed=4)
    parts = [json.dumps(results.embed_network(network)), "", page.read_source("network.js")]
    document = "".join(f"<script>{part}</script>" for part in parts)
    with numerics.pool(1) as pool:
        expected = np.exp(classify(network, images, batch_size=7, pool=pool))
    program = node.find_node()
    assert program  # playwright has one
    assert np.array(node.classify(program, document, images)) == pytest.approx(expected, abs=1e-5)
    with pytest.raises(UserError, match=r"^tools/page/network\.js: .*Error: "):
        node.classify(program, document.replace("readTensors", "missing", 1), images)


def test_the_date_is_that_of_the_last_commit_that_changed_the_lock(repository: Path) -> None:
    git("rm", "--quiet", "dvc.lock")
    git("commit", "--quiet", "--amend", "--no-edit")
    assert commit.lock_date() == "not committed"
    for when, name in (("2031-05-06T23:30:00-02:00", "dvc.lock"), ("2032-01-01T00:00Z", "other")):
        (repository / name).touch()
        git("add", name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GIT_COMMITTER_DATE", when)
            git("commit", "--quiet", "--message", f"Add {name}")
    assert commit.lock_date() == "2031-05-07 01:30 UTC"
    (repository / ".git/shallow").write_text(git("rev-parse", "HEAD~"))
    assert commit.lock_date() == "unknown: this is a shallow clone"
