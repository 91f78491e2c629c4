"""`.ci/review` judges a change against its base branch."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pandas as pd
import pytest
from PIL import Image

from stages.common.files import sha256
from tests.support import posix
from tests.support.project import Project

pytestmark = posix.only  # bash

TREE = "https://git.example.com/team/mnist/blob/1234abc"


def commit(project: Project, message: str) -> None:
    project("git", "commit", "--quiet", "--all", f"--message={message}")


def review(project: Project, base: str = "main") -> tuple[CompletedProcess[str], str]:
    """The process, and the report."""
    process = project.run(".ci/review", base, "review", TREE)
    assert process.stdout.endswith("\nThe report is in review/report.md\n"), process.stdout
    return process, (project.folder / "review/report.md").read_text()


@pytest.mark.slow
def test_a_change_without_its_results_fails(project: Project) -> None:
    project("git", "switch", "--quiet", "--create", "change")
    project.set_param("train", "lr", 0.001)
    commit(project, "A lower rate, without dvc repro")
    process, report = review(project)
    assert process.returncode == 1
    assert report.startswith("**Not what the code computes.** 7 of 9 artifacts differ: ")
    assert "\n- `dvc.lock: train: train.lr: committed 0.05, computed 0.001`\n" in report
    assert "\n- `metrics/metrics.json: test.accuracy: committed 1.0, computed " in report
    assert "\n- `metrics/predictions.csv: index 0, confidence: committed " in report
    assert project("git", "status", "--short") == ""  # the workspace is as it was


def test_an_honest_change_passes_with_its_results(project: Project) -> None:
    project("git", "switch", "--quiet", "--create", "change")
    project.set_param("train", "lr", 0.001)
    project("dvc", "repro")
    commit(project, "A lower rate, and what dvc repro changed")
    process, report = review(project)
    assert process.returncode == 0
    assert report.startswith("**This network is worse: ")
    assert "\n- `train.lr`: `0.05` → `0.001`\n" in report
    assert "\nThe files of each revision agree with each other: " in report
    assert "\nComputed again from nothing: All 9 artifacts are the same.\n" in report
    assert "judges" not in report
    assert f"[mistakes]({TREE}/metrics/plots/mistakes.png)" in report
    assert list(Path(project.folder, "review").glob("*.png"))
    assert project("git", "status", "--short") == ""


@pytest.mark.slow
def test_a_change_of_what_judges_it_is_named(project: Project) -> None:
    project("git", "switch", "--quiet", "--create", "change")
    with (project.folder / "tools/verify.py").open("a") as file:
        file.write("# edited\n")
    commit(project, "Another judge")
    process, report = review(project)
    assert process.returncode == 0
    assert "judges this change was changed with it:**\n\n```\ntools/verify.py\n```\n" in report


# The forgeries. `dvc commit --force` then makes dvc.lock fit, and `dvc status` is content.


def replace(path: Path, content: bytes) -> None:
    """Write a file that may be a read-only link into DVC's cache."""
    path.unlink()
    path.write_bytes(content)


def flip(path: Path) -> tuple[bytes, bytes]:
    """Change the last bit of a file; its content before and after."""
    before = path.read_bytes()
    after = before[:-1] + bytes([before[-1] ^ 1])
    replace(path, after)
    return before, after


def edit(path: Path, old: str, new: str) -> None:
    """Change the one place where a text file has `old`."""
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def forge_metrics(project: Project) -> None:
    """The accuracy alone."""
    path = project.folder / "metrics/metrics.json"
    metrics = json.loads(path.read_text())
    metrics["test"]["accuracy"] = 0.9999
    path.write_text(json.dumps(metrics))


def forge_predictions(project: Project) -> None:
    """Image 0 as another digit, in all files, which agree with each other."""
    folder = project.folder / "metrics"
    table = pd.read_csv(folder / "predictions.csv", dtype={"confidence": str})
    table.loc[0, "predicted"] = (table["label"].to_list()[0] + 1) % 10
    table.to_csv(folder / "predictions.csv", index=False)
    right = table["label"] == table["predicted"]
    per_digit = {str(digit): round(rows.mean(), 6) for digit, rows in right.groupby(table["label"])}
    scores = {"accuracy": right.mean(), "loss": 0.5}
    metrics = {"test": scores, "per_digit": per_digit} | scores_of_validation(folder)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    epochs = pd.read_csv(folder / "epochs.csv")
    epochs.loc[epochs.index[-1], ["accuracy", "loss"]] = [right.mean(), 0.5]
    epochs.to_csv(folder / "epochs.csv", index=False)


def scores_of_validation(folder: Path) -> dict[str, object]:
    metrics = json.loads((folder / "metrics.json").read_text())
    return {name: metrics[name] for name in metrics if name == "validation"}


def forge_model(project: Project) -> None:
    """One bit of a weight; the cache and the lock know the new digest."""
    flip(project.folder / "models/model.safetensors")


def change_params(project: Project) -> None:
    """A learning rate with which nobody trained."""
    project.set_param("train", "lr", 0.001)


def replace_chart(project: Project) -> None:
    """A picture of metrics/plots."""
    Image.new("RGB", (8, 8)).save(project.folder / "metrics/plots/mistakes.png")


def replace_digit(project: Project) -> None:
    """A pixel of MNIST, with its digest in SHA256SUMS."""
    folder = project.folder / "data/MNIST/raw"
    before, after = flip(folder / "t10k-images-idx3-ubyte")
    sums = (folder / "SHA256SUMS").read_text()
    replace(folder / "SHA256SUMS", sums.replace(sha256(before), sha256(after)).encode())


def change_code(project: Project) -> None:
    """Another order of the images."""
    path = project.folder / "stages/train.py"
    edit(path, "generator(seed, epoch)", "generator(seed, epoch, 1)")


def freeze(project: Project) -> None:
    """A stage that DVC does not run, not even by force."""
    edit(project.folder / "dvc.yaml", "  evaluate:\n", "  evaluate:\n    frozen: true\n")
    forge_predictions(project)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("forge", "lines"),
    [
        (
            forge_metrics,
            [
                "metrics/metrics.json: test.accuracy is 0.9999, but metrics/predictions.csv gives"
                " 1.0 (200 of 200)",
                "metrics/metrics.json: test.accuracy: committed 0.9999, computed 1.0",
            ],
        ),
        (
            forge_predictions,
            [
                "metrics/metrics.json: test.accuracy: committed 0.995, computed 1.0",
                "metrics/predictions.csv: index 0, predicted: committed ",
                "metrics/epochs.csv: epoch 2, accuracy: committed 0.995, computed 1.000000",
            ],
        ),
        (forge_model, ["dvc.lock: train: models/model.safetensors: committed "]),
        (
            change_params,
            [
                "dvc.lock: train: models/model.safetensors: committed ",
                "metrics/metrics.json: test.accuracy: committed 1.0, computed ",
            ],
        ),
        (replace_chart, ["metrics/plots/mistakes.png: MD5: committed "]),
        (replace_digit, ["dvc.lock: download: data/MNIST/raw: committed "]),
        (
            change_code,
            [
                "dvc.lock: train: models/model.safetensors: committed ",
                "metrics/history.csv: epoch 1, loss: committed ",
            ],
        ),
    ],
)
def test_a_forgery_with_a_lock_that_fits_is_named_with_its_numbers(
    project: Project, forge: Callable[[Project], None], lines: list[str]
) -> None:
    project("git", "switch", "--quiet", "--create", "change")
    forge(project)
    project("dvc", "commit", "--force")
    commit(project, "forged")
    assert project.repro() == []
    process, report = review(project)
    assert process.returncode == 1
    assert "**Not what the code computes.** " in report
    for line in lines:
        assert f"\n- `{line}" in report, report


def test_a_frozen_stage_is_refused(project: Project) -> None:
    project("git", "switch", "--quiet", "--create", "change")
    freeze(project)
    project("dvc", "commit", "--force")
    commit(project, "forged")
    assert project.repro() == []
    process = project.run(".ci/review", "main", "review")
    assert process.returncode == 1
    assert "dvc.yaml: stages.evaluate.frozen: nothing computes the results" in process.stdout
    assert process.stdout.endswith("There is no report, because the last command above failed\n")


@pytest.mark.parametrize(
    ("lr", "base", "reason"),
    [
        pytest.param(-1, "main", "train.lr: must be greater than 0", marks=pytest.mark.slow),
        (0.05, "nowhere", "nowhere"),
    ],
)
def test_a_failure_ends_the_review_without_a_report(
    project: Project, lr: float, base: str, reason: str
) -> None:
    report = project.folder / "review" / "report.md"
    report.parent.mkdir()
    report.write_text("that of an earlier run")
    project.set_param("train", "lr", lr)
    project("git", "commit", "--quiet", "--all", "--allow-empty", "--message=change")
    process = project.run(".ci/review", base, "review")
    assert process.returncode != 0
    assert reason in process.stdout
    assert process.stdout.endswith("There is no report, because the last command above failed\n")
    assert not report.exists()


def test_missing_arguments_are_named(project: Project) -> None:
    process = project.run(".ci/review", "main")
    assert process.returncode == 2
    assert process.stdout.startswith("usage: .ci/review BASE FOLDER [URL]")


@pytest.mark.slow
def test_the_skipped_tests_and_their_reasons_are_written_down(project: Project) -> None:
    tests = project.folder / "tests/unit/test_three.py"
    tests.write_text(
        "import pytest\n\n"
        "def test_passes() -> None:\n    pass\n\n"
        "@pytest.mark.skip(reason='no browser here')\ndef test_skipped() -> None:\n    pass\n\n"
        "def test_fails() -> None:\n    assert False\n"
    )
    installed = f"VENV={sys.prefix} --old-file={sys.prefix}/.dev --old-file={sys.prefix}/.run"
    options = {"MAKEFLAGS": installed, "PYTEST_ADDOPTS": str(tests)}
    process = project.run(".ci/test", "review", **options)
    assert process.returncode != 0
    summary = (project.folder / "review/tests.md").read_text().splitlines()
    assert summary[0].startswith("Tests:  1 failed, 1 passed, 1 skipped in ")
    assert summary[2] == "- Skipped [1]: tests/unit/test_three.py:6: no browser here"
