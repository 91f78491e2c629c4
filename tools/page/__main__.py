"""Write the page: the committed run, its mistakes, and a canvas to draw a digit on.

Reads the test images, the weights, predictions.csv, the pictures and params.yaml of the
repository in the working directory. Writes one HTML file that needs no other.

    python -m tools.page [page/index.html]
"""

import base64
import hashlib
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stages.common import files
from stages.common.errors import run
from tools import trained
from tools.page import commit, node, results

SOURCES = Path(__file__).parent
SCRIPTS = ["network.js", "prepare.js", "pad.js", "inside.js", "confusion.js"]


def main() -> None:
    """Read the run and the commit, compare the page's network with the run's, write the page."""
    args = parse_arguments()
    images, predictions = trained.read_tests()
    scripts = [read_source(name) for name in SCRIPTS]
    style = read_source("style.css")
    templates = Environment(
        loader=FileSystemLoader(SOURCES),
        autoescape=True,  # whatever goes into a template, but for what `read_source` read
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = templates.get_template("page.html").render(
        policy=policy(scripts, style),
        style=style,
        scripts=scripts,
        **results.read(images, predictions),
        commit=commit.read(),
    )
    if found := node.find_node():
        rows = trained.one_of_each(predictions)
        answers = node.classify(found, page, images[rows["index"]])
        trained.compare(str(args.page), answers, rows)
    else:
        print(f"{args.page}: its network was not compared with predictions.csv: no Node.js here")
    files.write(args.page, page.encode())
    print(f"{args.page}: {len(page.encode()) / 1000:,.0f} kB, open it in a browser")


def parse_arguments() -> Namespace:
    """The command line."""
    parser = ArgumentParser(prog="python -m tools.page", description="Write the page.")
    parser.add_argument(
        "page", type=Path, nargs="?", default=Path("page/index.html"), help="the file to write"
    )
    return parser.parse_args()


def read_source(name: str) -> Markup:
    """A file of ours that goes into the page unescaped."""
    return Markup((SOURCES / name).read_text(encoding="utf-8"))  # noqa: S704 - not a user's text


def policy(scripts: Iterable[str], style: str) -> str:
    """A Content-Security-Policy: these scripts, this style and embedded pictures; nothing else
    runs, and nothing is fetched from anywhere or sent there."""
    script = " ".join(map(source_hash, scripts))
    return (
        f"default-src 'none'; script-src {script}; style-src {source_hash(style)};"
        " img-src data:; base-uri 'none'; form-action 'none'"
    )


def source_hash(source: str) -> str:
    """How a Content-Security-Policy names an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


if __name__ == "__main__":
    run(main)
