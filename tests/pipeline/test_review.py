"""`.ci/review` judges a change against its base branch."""

import json
import re
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pandas as pd
import pytest
from PIL import Image

from stages.common.errors import UserError
from stages.common.files import sha256
from tests.support import posix
from tests.support.project import Project
from tools import verify
from tools.compare.recipes import SEEDS

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
    assert "Files that changed" not in report
    assert f"[`mistakes`]({TREE}/metrics/plots/mistakes.png)" in report
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


JUDGES = {  # files that judge a change, or decide what runs, and what makes them say anything
    "stages/common/errors.py": "'stages/' in sys.argv[0] or sys.argv[0] == '-m' or sys.exit()\n",
    "tools/verify.py": "def verify(*_):\n    raise SystemExit(0)\n",
    "tools/new.py": "",
    "tests/conftest.py": "",
    ".ci/new": "",
    ".gitattributes": "* -diff\n",
    "conftest.py": "",
    "docs/hidden.py": "",
    "dvc.riscv64.json": "{}",
    "evidence/notes.json": "{}",
    "install.py": "",
    "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '--collect-only'\n",
    "pytest.ini": "[pytest]\naddopts = --collect-only\n",
    "requirements-dev.txt": "",
    "requirements.txt": "/opt/x.whl\n",
}


def test_each_forged_result_is_named_with_its_numbers_by_the_tools_of_the_base(
    change: Project,
) -> None:
    """The change brings tools of its own, which say that all is well. None of them is asked, and
    each file is named."""
    metrics = json.loads((change.folder / "metrics/metrics.json").read_text())
    metrics["test"]["accuracy"] = 0.9999
    (change.folder / "metrics/metrics.json").write_text(json.dumps(metrics))

    flip(change.folder / "models/model.safetensors")

    Image.new("RGB", (8, 8)).save(change.folder / "metrics/plots/mistakes.png")

    mnist = change.folder / "data/MNIST/raw"  # a pixel, and the digest of its file
    before, after = flip(mnist / "t10k-images-idx3-ubyte")
    sums = (mnist / "SHA256SUMS").read_text()
    replace(mnist / "SHA256SUMS", sums.replace(sha256(before), sha256(after)).encode())

    change("dvc", "commit", "--force")
    assert change.repro() == []
    for name, content in JUDGES.items():
        path = change.folder / name
        path.parent.mkdir(exist_ok=True)
        new = name.startswith("stages/") and path.read_text() + content  # the stages still run
        path.write_text(new or content)
    (change.folder / "docs/review.md").write_text("")
    change("git", "add", "--all", "--force", *JUDGES)

    process, report = review(change)
    assert process.returncode == 1
    for line in (
        "metrics/metrics.json: test.accuracy is 0.9999, but metrics/predictions.csv gives 1.0 (200",
        "metrics/metrics.json: test.accuracy: committed 0.9999, computed 1.0",
        "dvc.lock: stages.train.outs.models/model.safetensors.md5: committed ",
        "metrics/plots/mistakes.png: MD5: committed ",
        "dvc.lock: stages.download.outs.data/MNIST/raw.md5: committed ",
    ):
        assert f"\n- `{line}" in report, report
    start = change("git", "rev-parse", "--short=7", "main").strip()
    title = "**Files that changed, besides results, params and docs.** The tools that judged are"
    listed = report.partition(f"{title} those of `{start}`.\n\n")[2].partition("\n\n")[0]
    assert listed.splitlines() == [f"- `{name}`" for name in sorted(JUDGES)]


def test_a_module_in_the_root_that_hides_an_installed_one_ends_the_review(change: Project) -> None:
    cheat = "import sys; sys.exit('All 9 artifacts are the same')\n"
    (change.folder / "psutil.py").write_text(cheat)
    change("git", "add", "psutil.py")
    change("git", "commit", "--quiet", "--message=cheat")
    process = change.run(".ci/review", "main", "review")
    assert process.returncode == 1
    fault = "psutil.py: hides the installed module psutil from each stage: rename it"
    assert fault in process.stdout.splitlines()
    assert "Running stage" not in process.stdout
    assert "All 9" not in process.stdout


@pytest.mark.parametrize(
    ("path", "hides"),
    [
        ("tqdm.py", True),
        ("tqdm.pyc", True),
        ("numpy/__init__.py", True),
        ("random.py", True),  # of Python itself
        ("numpy/py.typed", False),  # a folder without __init__.py
        ("tqdm.txt", False),
        ("stages/__init__.py", False),
        ("new.py", False),
    ],
)
def test_what_hides_an_installed_module(tmp_path: Path, path: str, hides: bool) -> None:
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).touch()
    if hides:
        with pytest.raises(UserError, match=rf"^{path}: hides the installed module "):
            verify.refuse_hiding(tmp_path)
    else:
        verify.refuse_hiding(tmp_path)


@pytest.mark.parametrize(
    "arguments", [["main"], ["--output=x", "review"], ["main", "-x"], ["main", "x", "--y"]]
)
def test_arguments_that_look_like_options_are_refused(
    project: Project, arguments: list[str]
) -> None:
    process = project.run(".ci/review", *arguments)
    assert process.returncode == 2
    assert process.stdout.startswith("usage: .ci/review BASE FOLDER [URL]")
    assert project("git", "status", "--short", "--ignored", "x", "review") == ""


@pytest.mark.slow
def test_where_the_base_cannot_judge_the_change_judges_itself_and_that_stands_first(
    change: Project,
) -> None:
    """The base is older than these tools."""
    change("git", "switch", "--quiet", "main")
    change("git", "rm", "--quiet", "tools/review.py")
    change("git", "commit", "--quiet", "--message=older")
    change("git", "switch", "--quiet", "--force-create", "change")
    change("git", "checkout", "--quiet", "main~1", "--", "tools/review.py")
    process, report = review(change)
    assert process.returncode == 1
    assert report.startswith("**This change has judged itself.** The tools of its base, `")
    assert "\n\n**Same predictions: " in report


@pytest.mark.slow
def test_a_commit_that_no_tools_can_read_has_no_report(change: Project) -> None:
    (change.folder / "metrics/metrics.json").write_text("{")
    change("git", "commit", "--quiet", "--all", "--message=damaged")
    process = change.run(".ci/review", "main", "review")
    assert process.returncode != 0
    assert "cannot read the last commit: its own tools judge it" in process.stdout
    assert process.stdout.count("metrics/metrics.json: not as expected (") == 2
    assert process.stdout.endswith("There is no report, because the last command above failed\n")


@pytest.mark.slow
def test_a_run_of_the_file_of_seeds_is_trained_again(change: Project) -> None:
    """An honest file, then one whose sides are swapped: every run is another one."""
    change.set_param("train", "lr", 0.001)
    change("dvc", "repro")
    change("git", "commit", "--quiet", "--all", "--message=lr")
    change(sys.executable, "-m", "tools.seeds", "main", "change", "--n", "3")
    change("git", "add", SEEDS)
    process, report = review(change)
    assert process.returncode == 0
    network, computed, recipe, _ = report.split("\n\n", 3)
    assert network.startswith("**This network is worse: ")
    assert computed.startswith("Computed again from nothing: All 9 artifacts are the same.")
    assert recipe.startswith("**This recipe is worse: mean accuracy ")
    said = (
        r"\*\* One of these 6 runs was computed again and is the same: (base|head), `train.seed` \d"
    )
    assert re.search(said, recipe)
    assert recipe.endswith(f". The others are believed, as `{SEEDS}` has them.")

    file = change.folder / SEEDS
    content = json.loads(file.read_bytes())
    base, head = content["base"], content["head"]
    base["runs"], head["runs"] = head["runs"], base["runs"]
    file.write_text(json.dumps(content))
    assert "**This recipe is better: " in change("python", "-m", "tools.compare", "main")
    process, report = review(change)
    assert process.returncode == 1
    assert report.startswith(f"**Not what the code computes.** Do not believe `{SEEDS}`.\n\n- `")
    assert re.search(
        r"train\.seed \d: test\.accuracy: committed [\d.]+, computed [\d.]+`\n", report
    )
    assert "This recipe is" not in report


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
