"""Measure how long the page takes to classify a drawing, in the page itself.

    python -m benchmarks.latency [--repeats 100]

Timed is all that happens when a stroke goes on: the strokes are drawn, the canvas is read, the
image prepared, the network run, the answer shown.
"""

import sys
from argparse import ArgumentParser
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.speed import ROOT, measure, spread
from stages.common import errors
from tests.support import browser
from tools import markdown

WANTED = 10  # milliseconds, at most


def main() -> None:
    """Write the page, time it, print a table."""
    parser = ArgumentParser(description="Measure the page.")
    parser.add_argument("--repeats", type=int, default=100, help="times that a digit is classified")
    args = parser.parse_args()
    if not browser.CHROMIUM:
        raise errors.UserError(browser.MISSING)

    with TemporaryDirectory() as folder:
        page = Path(folder) / "index.html"
        measure([sys.executable, "-m", "tools.page", page], ROOT)
        times = drawings(page, args.repeats)
    met = "yes" if median(times) <= WANTED else "no"
    header = ["Goal", "Median", "Least - greatest", "Count", "Wanted", "Met"]
    row = ["Page: classify a drawing", *spread(times, "ms"), f"at most {WANTED} ms", met]
    print(markdown.table(header, [row]))


def drawings(path: Path, repeats: int) -> list[float]:
    """Milliseconds that each classification took: `repeats` for each of the ten digits."""
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
