"""Which commit a page shows, and whether the workspace is that commit."""

from datetime import UTC, datetime
from typing import NamedTuple

from stages.common.errors import UserError
from tools.dvc_files import LOCK
from tools.git import git_text
from tools.processes import run_python

LAST_COMMIT = ["log", "--no-show-signature", "--max-count=1"]


class Commit(NamedTuple):
    """The commit that is checked out. Nothing here depends on the branch, the clone or the day,
    so that the same commit gives the same page."""

    digest: str  # 40 hexadecimal digits
    subject: str  # the first line of its message
    lock_date: str  # when dvc.lock last changed; committed, since DVC keeps no time itself
    changed: bool  # the workspace differs from the commit


def read() -> Commit:
    """That of the repository in the working directory.

    Raises:
        UserError: git or DVC cannot tell.
    """
    digest = git_text("rev-parse", "--verify", "HEAD")
    return Commit(digest, git_text(*LAST_COMMIT, "--format=%s"), lock_date(), is_changed())


def lock_date() -> str:
    """When, in UTC, the last commit that changed dvc.lock was made. A shallow clone does not hold
    that."""
    seconds = git_text(*LAST_COMMIT, "--format=%ct", "--", LOCK)
    if not seconds:
        return "not committed"
    if git_text("rev-parse", "--is-shallow-repository") == "true":
        return "unknown: this is a shallow clone"
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%d %H:%M UTC")


def is_changed() -> bool:
    """Whether a file that git tracks differs from the commit, or data, models or metrics from
    what dvc.lock says of them.

    Raises:
        UserError: git or DVC cannot tell.
    """
    if git_text("status", "--porcelain", "--untracked-files=no"):
        return True
    status = run_python("-m", "dvc", "status", "--quiet")
    if status not in {0, 1}:
        raise UserError("`dvc status` failed, as shown above")
    return status == 1
