"""Draw a digit on the page and save what it looks like, for README.md.

    make page && python -m tests.support.screenshot page/index.html docs/page.png

It needs Chromium, and uses the font Inter (Debian's package fonts-inter) if it is installed.
"""

from argparse import ArgumentParser
from pathlib import Path

from tests.support import browser


def main() -> None:
    parser = ArgumentParser(description="Save what the page looks like.")
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    args = parser.parse_args()
    with browser.chromium() as chromium, browser.opened(chromium, args.page.resolve()) as page:
        browser.draw(page, 3)
        page.mouse.move(0, 0)
        page.wait_for_timeout(500)  # milliseconds, for the bars to come to rest
        page.screenshot(path=args.picture)


if __name__ == "__main__":
    main()
