"""A scratch copy of a commit, in which the pipeline runs."""

import os
import shutil
from pathlib import Path

from tools.dvc_files import DATA, locate
from tools.git import git


def copy_commit(commit: str, folder: Path, cache: Path) -> Path:
    """Make `folder` a clone of the repository at that commit, which needs no branch to it, with
    this folder as DVC's cache. A killed process leaves no half of a clone there."""
    half = folder.with_name(f"{folder.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    git("clone", "--quiet", "--shared", "--no-checkout", ".", str(half))
    git("checkout", "--quiet", "--detach", commit, folder=half)
    text = f"[cache]\n    dir = {cache}\n"
    (half / ".dvc/config.local").write_text(text, encoding="utf-8")
    return half.rename(folder)


def environment(scratch: Path) -> dict[str, str]:
    """The environment variables of DVC in a copy of the project. What DVC leaves behind goes into
    the scratch folder. The MNIST files of the workspace, if it has them, are the first source; the
    download stage checks them as it checks any other."""
    variables = {"DVC_SITE_CACHE_DIR": str(scratch.absolute() / "site")}
    data = locate(DATA).absolute()
    if data.exists():
        variables["MNIST_DIR"] = os.environ.get("MNIST_DIR") or str(data)
    return variables
