import base64
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from stages.common.errors import UserError
from stages.model.network import Network, NetworkConfig
from tests.support import runner, tiny
from tests.support.run_files import git
from tools.page import __main__ as page
from tools.page import content, provenance

PREDICTIONS = pd.DataFrame(
    {
        "index": range(7),
        "label": [0, 0, 1, 1, 1, 9, 1],
        "predicted": [0, 1, 1, 1, 2, 1, 2],
        "confidence": [0.9, 0.7, 0.9, 0.6, 0.8, 0.8, 0.95],
    }
)


def test_rates_are_those_of_the_committed_metrics() -> None:
    predictions = pd.read_csv(runner.ROOT / "metrics/predictions.csv")
    metrics = json.loads((runner.ROOT / "metrics/metrics.json").read_text())
    overall, per_digit = content.rates(predictions)
    assert overall.accuracy == metrics["test"]["accuracy"]
    rounded = {str(digit): round(rate.accuracy, 6) for digit, rate in per_digit.items()}
    assert rounded == metrics["per_digit"]


def test_the_confusion_matrix_counts_and_only_mistakes_are_hot() -> None:
    cells = [cell for row in content.confusion(PREDICTIONS) for cell in row]
    assert len(cells) == 100
    assert {(c.label, c.predicted): (c.images, c.heat) for c in cells if c.images} == {
        (0, 0): (1, 0), (0, 1): (1, 4), (1, 1): (2, 0), (1, 2): (2, 5), (9, 1): (1, 4),
    }  # fmt: skip


def test_without_a_mistake_no_cell_is_hot() -> None:
    correct = PREDICTIONS.assign(predicted=PREDICTIONS["label"])
    assert {cell.heat for row in content.confusion(correct) for cell in row} == {0}


def test_examples_come_by_cell_with_the_most_telling_first() -> None:
    # Of the ones taken for 2 the more confident, of the ones read as 1 the less.
    assert content.examples(PREDICTIONS)["index"].tolist() == [0, 1, 3, 2, 6, 4, 5]


def test_a_cell_has_a_bounded_number_of_examples() -> None:
    many = pd.concat([PREDICTIONS] * 50)
    sizes = content.examples(many).groupby(["label", "predicted"]).size()
    assert set(sizes) == {content.EXAMPLES}


@pytest.mark.parametrize("n", [1, content.SHEET_COLUMNS, content.SHEET_COLUMNS + 1])
def test_the_sheet_holds_the_images_in_order(n: int) -> None:
    images, _ = tiny.digits(n, seed=4)
    with Image.open(io.BytesIO(content.sheet(images))) as picture:
        pixels = np.asarray(picture)
    for position, image in enumerate(images):
        row, column = (28 * i for i in divmod(position, content.SHEET_COLUMNS))
        assert (pixels[row : row + 28, column : column + 28] == 255 - image).all()


def test_embedded_numbers_are_the_normalisation_and_the_tensors_in_order(
    config: NetworkConfig,
) -> None:
    network = Network(config).requires_grad_(False)
    embedded = content.embed_network(network)
    numbers = np.frombuffer(base64.b64decode(embedded["numbers"]), "<f4")
    tensors = network.state_dict()
    assert embedded["shapes"] == [
        ["mean", [1]],
        ["std", [1]],
        *([name, list(tensor.shape)] for name, tensor in tensors.items()),
    ]
    assert numbers[:2].tolist() == pytest.approx([0.1307, 0.3081])
    weights = torch.cat([tensor.flatten() for tensor in tensors.values()])
    assert (numbers[2:] == weights.numpy()).all()
    assert len(weights) == 21_840


def test_predictions_of_other_images_are_refused() -> None:
    images, _ = tiny.digits(3, seed=1)
    with pytest.raises(UserError, match=r"^x\.csv: 7 rows for 3 test images; .* `dvc repro`$"):
        content.check(PREDICTIONS, images, Path("x.csv"))


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no pictures; make them with `dvc repro`$"):
        content.pictures(tmp_path)


def test_values_of_params_are_texts_with_what_is_nested_on_lines() -> None:
    groups = {"a": {"lr": 0.001, "mirrors": ["x", "y"], "sha256": {"x": "0", "y": 1}}, "b": {}}
    expected = {"a": {"lr": "0.001", "mirrors": "x\ny", "sha256": "x: 0\ny: 1"}, "b": {}}
    assert content.params_texts(groups) == expected


def test_the_policy_names_the_scripts_and_the_style_by_their_hashes() -> None:
    policy = page.policy(["alert(1)"], "p {}")
    # printf 'alert(1)' | openssl dgst -sha256 -binary | base64
    assert "script-src 'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI=';" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy


@pytest.mark.parametrize("name", page.SCRIPTS)
def test_no_source_ends_its_own_element(name: str) -> None:
    assert "</script" not in page.read_source(name)
    assert "</style" not in page.read_source("style.css")


@pytest.mark.parametrize(
    ("missing", "remedy"),
    [
        ("data", "`dvc repro download`"),
        ("models", "`dvc repro train`"),
        ("metrics/predictions.csv", "`dvc repro`"),
        ("metrics/plots", "`dvc repro`"),
        ("metrics/epochs.csv", "not a git repository"),  # the page does not read this file
    ],
)
def test_what_is_missing_is_one_line(
    copied: Path, monkeypatch: pytest.MonkeyPatch, missing: str, remedy: str
) -> None:
    (copied / "metrics/plots").mkdir()
    shutil.copy(runner.ROOT / "metrics/plots/samples.png", copied / "metrics/plots")
    (copied / missing).rename(copied / "away")
    monkeypatch.chdir(copied)
    monkeypatch.setattr("sys.argv", ["tools.page"])
    with pytest.raises(UserError) as error:
        page.main()
    assert remedy in str(error.value)
    assert "\n" not in str(error.value)
    assert not (copied / "page").exists()


@pytest.fixture
def dated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository, the working directory, with a dvc.lock in a commit of its own."""
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet")
    for key, value in {"name": "Tester", "email": "tester@example.com"}.items():
        git("config", f"user.{key}", value)
    commit("2031-05-06T23:30:00-02:00", "dvc.lock")
    commit("2032-01-01T00:00:00Z", "other")
    return tmp_path


def commit(when: str, name: str) -> None:
    Path(name).touch()
    git("add", name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_COMMITTER_DATE", when)
        git("commit", "--quiet", "--message", f"Add {name}")


@pytest.mark.usefixtures("dated")
def test_the_time_is_that_of_the_last_commit_that_changed_the_lock() -> None:
    assert provenance.locked() == "2031-05-07 01:30 UTC"


def test_a_shallow_clone_does_not_know_the_time(dated: Path) -> None:
    (dated / ".git/shallow").write_text(git("rev-parse", "HEAD~"))
    assert provenance.locked() == "unknown: this is a shallow clone"


@pytest.mark.usefixtures("dated")
def test_a_lock_that_was_never_committed_has_no_time() -> None:
    git("rm", "--quiet", "dvc.lock")
    git("update-ref", "-d", "HEAD")
    commit("2033-01-01T00:00:00Z", "first")
    assert provenance.locked() == "not committed"
