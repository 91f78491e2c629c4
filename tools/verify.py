"""Check the claim of a commit's dvc.lock on this machine.

    python -m tools.verify [REVISION]

Reads the repository; writes nothing into it. The whole pipeline runs in a scratch copy of the
commit, and each output's digest is compared with the committed one: a row each, then what it was
computed on. Exits with 0 if all are the same, with 1 otherwise.
"""

import json
import os
import signal
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from ruamel.yaml import YAML

from stages.common.errors import UserError, run

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data/MNIST/raw"
CACHE = ".dvc/cache/files/md5"
FOLDER = ".dir"  # ends the digest of a folder
ABSENT = "-"  # in place of a digest
MACHINE = """
import os, platform, torch
from pathlib import Path
from stages.model import numerics

numerics.pin()
info = Path("/proc/cpuinfo")  # on Linux
lines = info.read_text(errors="replace").splitlines() if info.exists() else []
models = [line.split(": ")[1] for line in lines if line.startswith("model name")]
print(f"CPU: {models[0] if models else platform.processor()}, {os.cpu_count()} cores")
print(f"PyTorch {torch.__version__}, running {torch.backends.cpu.get_cpu_capability()} code;"
      f" Python {platform.python_version()}, {platform.system()} {platform.machine()}")
settings = (f"{name}={os.environ.get(name, '')}" for name in numerics.SETTINGS)
print("Settings:", *settings, sep="\\n  ")
"""  # run in the scratch copy, whose settings may be others than those of the workspace


class Row(NamedTuple):
    """What became of an output, or of a file in a folder that is one."""

    name: str
    expected: str  # MD5 of the content, as in dvc.lock
    got: str


def main() -> None:
    """Copy, run, compare, report."""
    parser = ArgumentParser(
        prog="python -m tools.verify",
        description="Check the claim of a commit's dvc.lock on this machine.",
    )
    parser.add_argument("revision", nargs="?", default="HEAD", help="commit, tag or branch")
    args = parser.parse_args()
    commit = resolve(args.revision)
    print(f"Verifying {args.revision} ({commit[:10]}) in a scratch copy", flush=True)
    if capture("git", "--no-optional-locks", "status", "--porcelain"):  # it would write the index
        print("Note: the committed files are verified, not the workspace's changes", flush=True)

    with TemporaryDirectory(prefix="verify-") as scratch:
        copy = check_out(commit, Path(scratch))
        environment = surroundings(copy.parent)
        expected = read_digests(copy / "dvc.lock")
        repro(copy, environment)
        got = read_digests(copy / "dvc.lock")
        rows = list(compare(expected, got, ROOT / CACHE, copy / CACHE))
        machine = capture(sys.executable, "-c", MACHINE, folder=copy, environment=environment)

    different = sum(expected.get(path) != got.get(path) for path in expected | got)
    print("", table(rows), "", verdict(different, len(expected | got)), machine, sep="\n")
    sys.exit(1 if different else 0)


def resolve(revision: str) -> str:
    """The full name of the commit.

    Raises:
        UserError: git knows no such revision.
    """
    command = ["git", "rev-parse", "--quiet", "--verify", "--end-of-options"]
    git = subprocess.run(
        [*command, f"{revision}^{{commit}}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if git.returncode:
        raise UserError(f"{revision}: git knows no such revision; `git log --all` lists them")
    return git.stdout.strip()


def check_out(commit: str, scratch: Path) -> Path:
    """A clone at that commit, with a DVC cache of its own. An empty cache cannot answer in place
    of a run, not even one that other projects on this machine share, and takes nothing from this
    run either: an output that came out otherwise stays here."""
    copy = scratch / "copy"
    capture("git", "clone", "--quiet", "--shared", "--no-checkout", str(ROOT), str(copy))
    capture("git", "checkout", "--quiet", "--detach", commit, folder=copy)
    if not (copy / "dvc.lock").exists():
        raise UserError(f"{commit}: has no dvc.lock, so there is nothing to verify")
    (copy / ".dvc/config.local").write_text("[cache]\n    dir = cache\n", encoding="utf-8")
    return copy


def surroundings(scratch: Path) -> dict[str, str]:
    """The environment of the run: this Python is the first on PATH, whatever the libraries leave
    behind goes into the scratch folder, and the MNIST files of the workspace, if it has them, are
    the first source. The download stage checks them as it checks any other."""
    places = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TMPDIR": str(scratch),
        "DVC_SITE_CACHE_DIR": str(scratch / "site"),
    }
    if DATA.exists():
        places["MNIST_DIR"] = os.environ.get("MNIST_DIR") or str(DATA)
    return os.environ | places


def repro(copy: Path, environment: dict[str, str]) -> None:
    """Run all stages, up to date or not.

    Raises:
        UserError: a stage failed, and has said why.
    """
    command = [sys.executable, "-m", "dvc", "repro", "--force"]
    # A process group of its own: killing DVC alone would leave the stage that it started.
    with subprocess.Popen(
        command, cwd=copy, env=environment, stdin=subprocess.DEVNULL, process_group=0
    ) as dvc:
        try:
            status = dvc.wait()
        finally:
            if dvc.poll() is None:  # this process was told to end
                os.killpg(dvc.pid, signal.SIGKILL)
    if status:
        raise UserError("the pipeline failed, as shown above: nothing to compare")


def read_digests(lock: Path) -> dict[str, str]:
    """The path of each output to its MD5, as in dvc.lock."""
    stages = YAML(typ="safe", pure=True).load(lock)["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}


def compare(
    expected: dict[str, str], got: dict[str, str], expected_cache: Path, got_cache: Path
) -> Iterator[Row]:
    """A row for each output, and one for each file that differs in a folder, where the cache
    still lists what the folder held."""
    for path in expected | got:
        row = Row(path, expected.get(path, ABSENT), got.get(path, ABSENT))
        yield row
        before, after = list_folder(expected_cache, row.expected), list_folder(got_cache, row.got)
        if before and after:
            for name in sorted(before | after):
                if before.get(name) != after.get(name):
                    yield Row(f"  {name}", before.get(name, ABSENT), after.get(name, ABSENT))


def list_folder(cache: Path, digest: str) -> dict[str, str]:
    """Name and MD5 of each file in the folder with this digest; empty if the cache lacks it."""
    listing = cache / digest[:2] / digest[2:]
    if not digest.endswith(FOLDER) or not listing.exists():
        return {}
    return {entry["relpath"]: entry["md5"] for entry in json.loads(listing.read_bytes())}


def table(rows: Sequence[Row]) -> str:
    """One line a row, under a heading. A folder's digest is that of the list of its files."""
    cells = [("Artifact", "Expected", "Got", "Same")]
    cells += [
        (
            name + "/" if expected.endswith(FOLDER) else name,
            expected.removesuffix(FOLDER),
            got.removesuffix(FOLDER),
            "yes" if expected == got else "NO",
        )
        for name, expected, got in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)


def verdict(different: int, n: int) -> str:
    """The outcome in one line."""
    if different:
        return f"{different} of {n} artifacts differ: dvc.lock is not what this machine computes"
    return f"All {n} artifacts are the same"


def capture(*command: str, folder: Path = ROOT, environment: dict[str, str] | None = None) -> str:
    """What a command prints.

    Raises:
        UserError: it fails; the message is what it said.
    """
    process = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if process.returncode:
        raise UserError(f"{' '.join(command[:2])} failed: {process.stderr.strip()}")
    return process.stdout.strip()


if __name__ == "__main__":
    run(main)
