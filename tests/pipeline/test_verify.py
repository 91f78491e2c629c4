"""`python -m tools.verify`: a commit runs afresh, elsewhere, and is compared with its lock."""

import re
import signal
import subprocess
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.support import posix
from tests.support.project import Project, wait_for
from tests.support.runner import ROOT, digests
from tools.expected import Expected, read_digests

VERIFY = ("python", "-m", "tools.verify")
OUTPUTS = [*read_digests(ROOT)]


def edit(project: Project, name: str, old: str, new: str) -> None:
    """Change the one place of a source file that has `old`."""
    path = project.folder / name
    source = path.read_text(encoding="utf-8")
    assert source.count(old) == 1
    path.write_text(source.replace(old, new), encoding="utf-8")


def commit(project: Project) -> None:
    project("git", "commit", "--quiet", "--all", "--message=changed")


def answers(process: CompletedProcess[str]) -> dict[str, str]:
    """The table's first and last column."""
    table = process.stdout.partition("Artifact ")[2].partition("\n\n")[0].splitlines()[1:]
    return {line.split()[0].rstrip("/"): line.split()[-1] for line in table}


def test_a_revision_is_verified_with_the_data_and_without_the_code_of_the_workspace(
    project: Project, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    edit(project, "stages/train.py", "def main() -> None:\n", "def main() -> int:\n")
    commit(project)
    edit(project, "stages/plot.py", "def main() -> None:\n", "def main() -> int:\n")
    before = digests(project.folder)
    places = {"MNIST_DIR": "", "TMPDIR": str(scratch), "PYTHONDONTWRITEBYTECODE": "1"}
    process = project.run(*VERIFY, "main~1", **places)
    assert process.returncode == 0, process.stdout
    assert "Verifying main~1 (" in process.stdout
    assert "Note: the committed files are verified, not the workspace's changes" in process.stdout
    assert f"(last source: MNIST_DIR={project.folder}/data/MNIST/raw)" in process.stdout
    assert answers(process) == dict.fromkeys(OUTPUTS, "yes")
    assert "All 9 artifacts are the same" in process.stdout
    assert re.search(r"^CPU: .+, \d+ cores$", process.stdout, re.MULTILINE)
    build = r"^PyTorch 2\.13\.\S+, running AVX2 code; Python 3"
    assert re.search(build, process.stdout, re.MULTILINE)
    assert digests(project.folder) == before
    assert [*scratch.rglob("*")] == []


@pytest.mark.slow
def test_code_that_never_ran_shows_though_dvc_and_the_lock_agree(project: Project) -> None:
    edit(project, "stages/train.py", "generator(seed, epoch)", "generator(seed, epoch, 1)")
    project("dvc", "commit", "--force")
    commit(project)
    assert project.repro() == []
    process = project.run(*VERIFY)
    assert process.returncode == 1
    assert answers(process) == dict.fromkeys(OUTPUTS, "NO") | {"data/MNIST/raw": "yes"}
    assert (
        "\ndvc.lock: stages.train.outs.models/model.safetensors.md5: committed " in process.stdout
    )
    assert "\nmetrics/history.csv: line 2: committed 1,10," in process.stdout
    assert "\nmetrics/plots/training_curves.png: MD5: committed " in process.stdout
    assert "8 of 9 artifacts differ" in process.stdout


@pytest.mark.slow
def test_another_hand_may_lay_out_params_and_dvc_yaml(project: Project) -> None:
    """Quotes, an indentation of four, a group in a file of its own, a list of commands."""
    path = project.folder / "params.yaml"
    text = path.read_text(encoding="utf-8").replace("device: cpu", 'device: "cpu"')
    text = re.sub(r"^ +", lambda spaces: 2 * spaces[0], text, flags=re.MULTILINE)
    text, _, plot = text.partition("plot:")
    path.write_text(text, encoding="utf-8")
    (project.folder / "other.yaml").write_text(f"plot:{plot}", encoding="utf-8")
    edit(project, "dvc.yaml", "      - plot\n", "      - other.yaml: [plot]\n")
    edit(project, "dvc.yaml", " metrics/plots\n", " metrics/plots --params other.yaml\n")
    download = "python -m stages.download data/MNIST/raw\n"
    edit(project, "dvc.yaml", f" {download}", f"\n      - {download}      - git --version\n")
    assert project.repro() == ["download", "plot"]
    project("git", "add", "--all")
    commit(project)
    compared = project("python", "-m", "tools.compare", "HEAD~1", "HEAD")
    assert "### Params that changed\n\nNone.\n" in compared
    assert "Note: " not in compared
    verified = project(*VERIFY)
    assert "All 9 artifacts are the same\n" in verified


@pytest.mark.slow
def test_what_no_output_shows_is_named(project: Project) -> None:
    """What dvc.lock says beside the digests; a file of a stage that was dropped, or of none."""
    path = project.folder / "dvc.yaml"
    pipeline = path.read_text(encoding="utf-8")
    before, _, rest = pipeline.partition("  plot:\n")
    path.write_text(f"{before}{rest[rest.index(chr(10) + '# A file has') :]}", encoding="utf-8")
    path = project.folder / "dvc.lock"
    lock = path.read_text(encoding="utf-8").partition("  plot:\n")[0]
    head, _, model = lock.rpartition("models/model.safetensors\n      hash: md5\n")
    model = model.replace("size: ", "size: 1", 1)
    path.write_text(f"{head}models/model.safetensors\n      hash: md5-dos2unix\n{model}")
    (project.folder / "metrics/best.json").write_text("{}")
    project("git", "add", "--all")
    commit(project)
    process = project.run(*VERIFY)
    assert process.returncode == 1
    assert answers(process) == dict.fromkeys(OUTPUTS[:-1], "yes")
    for line in (
        "metrics/best.json: committed, but no stage writes it",
        "metrics/plots/mistakes.png: committed, but no stage writes it",
        "All 8 artifacts are the same, but the commit says something else of the run",
    ):
        assert f"\n{line}\n" in process.stdout
    model = re.escape("\ndvc.lock: stages.evaluate.deps.models/model.safetensors.")
    assert re.search(rf"{model}hash: committed md5-dos2unix, computed md5\n", process.stdout)
    assert re.search(rf"{model}size: committed 1(\d+), computed \1\n", process.stdout)


@pytest.mark.slow
@posix.only_linux
def test_an_architecture_may_have_digests_of_its_own_with_other_parameters(
    project: Project,
) -> None:
    """Linux can say that it is a 32-bit one, and all else is as before. The file says one epoch
    and has the digests of two, and a wrong one of what does not depend on that."""
    wrong = {"models/first_images.idx": "0" * 32}
    of_two_epochs = read_digests(project.folder) | wrong
    wanted = Expected(computed_on="a test", params={"train.epochs": 1}, outputs=of_two_epochs)
    (project.folder / "dvc.i686.json").write_text(wanted.model_dump_json(), encoding="utf-8")
    project("git", "add", "dvc.i686.json")
    commit(project)
    process = project.run("setarch", "i686", *VERIFY)
    assert process.returncode == 1
    said = "dvc.i686.json has digests of this architecture. They are of a run with train.epochs=1 ("
    assert said in process.stdout
    assert answers(process) == dict.fromkeys(OUTPUTS, "NO") | {"data/MNIST/raw": "yes"}
    assert "8 of 9 artifacts differ: dvc.i686.json is not what this" in process.stdout


@pytest.mark.slow
def test_an_earlier_run_of_the_same_code_does_not_answer_for_this_one(
    project: Project, tmp_path: Path
) -> None:
    """Not even from a cache that the user's own configuration shares among all projects."""
    edit(
        project,
        "stages/evaluate.py",
        "    print(describe(",
        '    import os; args.metrics.write_text(os.environ["NOISE"])\n    print(describe(',
    )
    settings = tmp_path / "settings"
    settings.mkdir()
    (settings / "config").write_text(f"[cache]\n    dir = {project.folder}/.dvc/cache\n")
    process = project.run("dvc", "repro", "evaluate", NOISE="1")
    assert process.returncode == 0, process.stdout
    commit(project)
    cache = digests(project.folder / ".dvc/cache")
    process = project.run(*VERIFY, NOISE="2", DVC_GLOBAL_CONFIG_DIR=str(settings))
    assert process.returncode == 1
    expected = dict.fromkeys(OUTPUTS, "yes") | {"metrics/metrics.json": "NO"}
    assert answers(process) == expected
    assert digests(project.folder / ".dvc/cache") == cache


@pytest.mark.slow
def test_a_committed_result_does_not_stand_for_one_that_is_not_computed(project: Project) -> None:
    write = "    files.write(args.metrics, files.canonical_json(metrics))\n"
    edit(project, "stages/evaluate.py", write, "")
    metrics = "      - metrics/metrics.json:\n"
    edit(project, "dvc.yaml", metrics, f"{metrics}          persist: true\n")
    project("dvc", "commit", "--force")
    commit(project)
    forced = project("dvc", "repro", "--force", "--single-item", "evaluate")  # takes the committed
    assert "Running stage 'evaluate'" in forced
    assert project("git", "status", "--short") == ""
    process = project.run(*VERIFY)
    assert process.returncode == 1
    assert "metrics/metrics.json" in process.stdout.split("failed to reproduce 'evaluate'")[1]
    assert process.stdout.endswith("the pipeline failed, as shown above: nothing to compare\n")
    assert "Traceback" not in process.stdout


def test_what_cannot_be_verified_is_refused_before_anything_runs(project: Project) -> None:
    process = project.run(*VERIFY, "workspace")
    assert process.returncode == 1
    assert process.stdout == "only a commit can be verified, not the workspace: commit it first\n"
    project("git", "rm", "--quiet", "--cached", "dvc.lock")
    commit(project)
    process = project.run(*VERIFY)
    assert process.returncode == 1
    assert " lacks dvc.lock; make it: " in process.stdout


@pytest.mark.parametrize(
    ("name", "status"),
    [("SIGINT", 130), pytest.param("SIGKILL", -9, marks=pytest.mark.slow)],
)
def test_a_tool_that_is_ended_leaves_no_process_and_no_file(
    project: Project, tmp_path: Path, name: str, status: int
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    edit(
        project,
        "stages/train.py",
        "def main() -> None:\n",
        "def main() -> None:\n    import time\n    print('asleep', flush=True)\n"
        "    time.sleep(30)\n    print('awake', flush=True)\n",
    )
    commit(project)
    with subprocess.Popen(
        VERIFY,
        cwd=project.folder,
        env=project.environment() | {"TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        wait_for(process, "asleep\n")
        process.send_signal(getattr(signal, name))
        rest = process.stdout.read()  # ends with the last process that could write to it
        assert process.wait() == status, rest
    assert "awake" not in rest
    assert "Traceback" not in rest
    assert [*scratch.rglob("*")] == []
