"""Which commit a page shows, and whether the workspace is that commit."""

import subprocess
import sys
from datetime import UTC, datetime
from typing import NamedTuple

from stages.common.errors import UserError


class Revision(NamedTuple):
    """The commit that is checked out. Nothing here depends on the branch, the clone or the day,
    so that the same commit gives the same page."""

    commit: str  # 40 hexadecimal digits
    subject: str  # the first line of its message
    locked: str  # when dvc.lock last changed, in UTC; committed, since DVC keeps no time itself
    changed: bool  # the workspace differs from the commit


def read() -> Revision:
    """The revision of the repository in the working directory.

    Raises:
        UserError: git or DVC cannot tell; the message is what they say.
    """
    commit = git("rev-parse", "--verify", "HEAD")
    return Revision(commit, git(*LOG, "--format=%s"), locked(), is_changed())


LOG = ["log", "--no-show-signature", "--max-count=1"]


def locked() -> str:
    """When the last commit that changed dvc.lock was made. A shallow clone has cut that off."""
    seconds = git(*LOG, "--format=%ct", "--", "dvc.lock")
    if not seconds:
        return "not committed"
    if git("rev-parse", "--is-shallow-repository") == "true":
        return "unknown: this is a shallow clone"
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%d %H:%M UTC")


def is_changed() -> bool:
    """Whether a file that git tracks differs from the commit, or data, models or metrics from
    what dvc.lock says of them."""
    if git("status", "--porcelain", "--untracked-files=no"):
        return True
    status = call(sys.executable, "-m", "dvc", "status", "--quiet")
    if status.returncode not in {0, 1}:
        raise UserError(f"`dvc status` failed: {status.stderr.strip()}")
    return status.returncode == 1


def git(*arguments: str) -> str:
    """What a git command prints."""
    process = call("git", *arguments)
    if process.returncode:
        raise UserError(f"`git {' '.join(arguments)}` failed: {process.stderr.strip()}")
    return process.stdout.strip()


def call(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command; its output as text, whatever the locale."""
    return subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
