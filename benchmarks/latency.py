"""Measure how long the page of tools.page takes to classify a drawing, in a browser.

    python -m benchmarks.latency [--repeats 100]

A time is that of all that happens when a stroke grows: draw the strokes, read the canvas, prepare
the image, run the network, show the answer.
"""

from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.processes import python
from benchmarks.summary import Goal, goals
from stages.common import errors
from tests.support import browser

WANTED = 10  # milliseconds, at most


def main() -> None:
    """Write the page, let it classify digits, print a table."""
    parser = ArgumentParser(description="Measure the page.")
    parser.add_argument("--repeats", type=int, default=100, help="classifications of each digit")
    args = parser.parse_args()
    if not browser.CHROMIUM:
        raise errors.UserError(browser.MISSING)

    with TemporaryDirectory() as folder:
        page = Path(folder) / "index.html"
        python("tools.page", page)
        times = latencies(page, args.repeats)
    print(goals([Goal("Page: classify a drawing", times, "ms", "most", WANTED)]))
    print(f"{len(times):,} drawings")


def latencies(path: Path, repeats: int) -> list[float]:
    """Draw each digit; return the milliseconds of its classifications, `repeats` for each digit."""
    times: list[float] = []
    with browser.chromium() as chromium, browser.opened(chromium, path) as page:
        for digit in range(10):
            browser.draw(page, digit)
            times += page.evaluate(
                """(repeats) => Array.from({ length: repeats }, () => {
                  const start = performance.now();
                  drawStrokes();
                  show(readDigit());
                  return performance.now() - start;
                })""",
                repeats,
            )
    return times


if __name__ == "__main__":
    errors.run(main)
