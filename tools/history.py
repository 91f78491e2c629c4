"""The commits that changed the model, each compared with the one before. All is read from git.

    python -m tools.history [REVISION] [-n 10]

Prints a row for each, the newest first: its accuracy, the verdict of tools.compare on the two
networks, McNemar's p, and the commit's message.
"""

from argparse import ArgumentParser
from collections.abc import Iterator

from stages.common.errors import UserError, printable, run
from tools.compare import networks, report, runs
from tools.compare.runs import ACCURACY, Run
from tools.dvc_files import LOCK, MODEL
from tools.git import Revision, git_text, resolve
from tools.terminal import columns

HEADER = ["commit", "accuracy", "network", "p", "message"]


def main() -> None:
    """Read, compare, print."""
    parser = ArgumentParser(
        prog="python -m tools.history", description="The commits that changed the model."
    )
    parser.add_argument("revision", nargs="?", default="HEAD", help="whose history")
    parser.add_argument("-n", type=int, default=10, help="models, at most (default: 10)")
    args = parser.parse_args()
    rows = [HEADER]
    for before, after in models(resolve(args.revision).commit or "HEAD"):
        if len(rows) > args.n:
            break
        rows.append(row(before, after))
    print(columns(rows, "<><><"))


def models(commit: str) -> Iterator[tuple[Run | None, Run]]:
    """Each model in the history of a commit, the newest first, with the one before it. Of several
    commits with one model in turn, the oldest counts. A merge counts as its first parent's."""
    after: Run | None = None
    log = git_text("log", "--first-parent", "--format=%H", commit, "--", LOCK)
    for name in log.split():
        try:
            before = runs.load(Revision(name[:7], name))
        except UserError as error:  # of another time: the files had another form
            print(f"Older ones cannot be read: {error}")
            break
        if after and after.digest(MODEL) != before.digest(MODEL):
            yield before, after
        after = before
    if after:
        yield None, after


def row(before: Run | None, after: Run) -> list[str]:
    """The cells of a model."""
    message = git_text("log", "-1", "--format=%s", str(after.revision.commit))
    cells = [after.revision.name, report.percent(after.metrics[ACCURACY])]
    if before is None:
        return [*cells, "-", "-", printable(message)]
    found = networks.compare(before, after)
    return [*cells, found.verdict, report.p_text(found.overall.p), printable(message)]


if __name__ == "__main__":
    run(main)
