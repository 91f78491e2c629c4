"""`.ci/review` judges a change against its base branch."""

import json
import sys
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


@pytest.fixture
def change(project: Project) -> Project:
    """A branch in which a change is to be made."""
    project("git", "switch", "--quiet", "--create", "change")
    return project


def review(project: Project) -> tuple[CompletedProcess[str], str]:
    """Commit what was changed, and review it: the process, and the report."""
    project("git", "commit", "--quiet", "--all", "--message=change")
    process = project.run(".ci/review", "main", "review", TREE)
    assert process.stdout.endswith("\nThe report is in review/report.md\n"), process.stdout
    assert project("git", "status", "--short") == ""  # the workspace is as it was
    return process, (project.folder / "review/report.md").read_text()


@pytest.mark.slow
def test_an_honest_change_passes_with_its_results(change: Project) -> None:
    change.set_param("train", "lr", 0.001)
    change("dvc", "repro")
    process, report = review(change)
    assert process.returncode == 0
    assert report.startswith("**This network is worse: ")
    assert "\n- `train.lr`: `0.05` → `0.001`\n" in report
    assert "\nThe files of each revision agree with each other: " in report
    assert "\nComputed again from nothing: All 9 artifacts are the same.\n" in report
    assert "judges" not in report
    assert f"[mistakes]({TREE}/metrics/plots/mistakes.png)" in report
    assert list(Path(change.folder, "review").glob("*.png"))


# The forgeries. `dvc commit --force` makes dvc.lock fit, and `dvc status` is content. Code that
# never ran is in test_verify.py.


def review_forged(project: Project) -> str:
    """The report on a change that DVC takes for up to date. The review fails."""
    project("dvc", "commit", "--force")
    assert project.repro() == []
    process, report = review(project)
    assert process.returncode == 1
    assert "**Not what the code computes.** " in report
    return report


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


def test_each_forged_result_is_named_with_its_numbers_and_so_is_a_changed_judge(
    change: Project,
) -> None:
    metrics = json.loads((change.folder / "metrics/metrics.json").read_text())
    metrics["test"]["accuracy"] = 0.9999
    (change.folder / "metrics/metrics.json").write_text(json.dumps(metrics))

    flip(change.folder / "models/model.safetensors")

    Image.new("RGB", (8, 8)).save(change.folder / "metrics/plots/mistakes.png")

    mnist = change.folder / "data/MNIST/raw"  # a pixel, and the digest of its file
    before, after = flip(mnist / "t10k-images-idx3-ubyte")
    sums = (mnist / "SHA256SUMS").read_text()
    replace(mnist / "SHA256SUMS", sums.replace(sha256(before), sha256(after)).encode())

    with (change.folder / "tools/verify.py").open("a") as judge:
        judge.write("# edited\n")

    report = review_forged(change)
    for line in (
        "metrics/metrics.json: test.accuracy is 0.9999, but metrics/predictions.csv gives 1.0 (200",
        "metrics/metrics.json: test.accuracy: committed 0.9999, computed 1.0",
        "dvc.lock: stages.train.outs.models/model.safetensors.md5: committed ",
        "metrics/plots/mistakes.png: MD5: committed ",
        "dvc.lock: stages.download.outs.data/MNIST/raw.md5: committed ",
    ):
        assert f"\n- `{line}" in report, report
    assert "judges this change was changed with it:**\n\n```\ntools/verify.py\n```\n" in report


@pytest.mark.slow
def test_forged_results_that_agree_with_each_other_are_named(change: Project) -> None:
    """Image 0 as another digit, in all files."""
    folder = change.folder / "metrics"
    table = pd.read_csv(folder / "predictions.csv", dtype={"confidence": str})
    table.loc[0, "predicted"] = (table["label"].to_list()[0] + 1) % 10
    table.to_csv(folder / "predictions.csv", index=False)
    right = table["label"] == table["predicted"]
    per_digit = {str(digit): round(rows.mean(), 6) for digit, rows in right.groupby(table["label"])}
    metrics = {"test": {"accuracy": right.mean(), "loss": 0.5}, "per_digit": per_digit}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    epochs = pd.read_csv(folder / "epochs.csv")
    epochs.loc[epochs.index[-1], ["accuracy", "loss"]] = [right.mean(), 0.5]
    epochs.to_csv(folder / "epochs.csv", index=False)

    report = review_forged(change)
    assert "\n- `metrics/metrics.json: test.accuracy: committed 0.995, computed 1.0`\n" in report
    assert "\n- `metrics/predictions.csv: line 2: committed 0," in report
    assert "\n- `metrics/epochs.csv: line 3: committed 2,0.5,0.995" in report
    assert "contradict" not in report


@pytest.mark.parametrize(
    ("base", "reason"),
    [("main", "dvc.yaml: stages.evaluate.frozen: nothing computes the"), ("nowhere", "nowhere")],
)
def test_a_frozen_stage_or_an_unknown_base_ends_the_review_without_a_report(
    change: Project, base: str, reason: str
) -> None:
    report = change.folder / "review/report.md"
    report.parent.mkdir()
    report.write_text("that of an earlier run")
    pipeline = (change.folder / "dvc.yaml").read_text()
    frozen = pipeline.replace("  evaluate:\n", "  evaluate:\n    frozen: true\n")
    (change.folder / "dvc.yaml").write_text(frozen)
    change("git", "commit", "--quiet", "--all", "--message=frozen")
    process = change.run(".ci/review", base, "review")
    assert process.returncode != 0
    assert reason in process.stdout
    assert process.stdout.endswith("There is no report, because the last command above failed\n")
    assert not report.exists()


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
