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
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from stages.common import files, mnist, tables
from stages.common.errors import run
from stages.common.tables import Prediction
from stages.model import weights
from tools.dvc_files import DATA, MODEL, PICTURES, PREDICTIONS, locate
from tools.git import PARAMS, WORKSPACE, load
from tools.page import content, provenance
from tools.yaml_files import parse_yaml

SOURCES = Path(__file__).parent
SCRIPTS = ["network.js", "prepare.js", "pad.js", "confusion.js"]


def main() -> None:
    """Read the run, write the page."""
    args = parse_arguments()
    scripts = [read_source(name) for name in SCRIPTS]
    style = read_source("style.css")
    page = template().render(
        policy=policy(scripts, style),
        style=style,
        scripts=scripts,
        **read_run(),
        revision=provenance.read(),
    )
    files.write(args.page, page.encode())
    print(f"{args.page}: {len(page.encode()) / 1000:,.0f} kB, open it in a browser")


def read_run() -> dict[str, Any]:
    """What page.html says of the run in the workspace.

    Raises:
        UserError: a file is missing or damaged.
    """
    model, table = locate(MODEL), locate(PREDICTIONS)
    network = weights.load(model)
    predictions = tables.read(table, Prediction)
    images, _ = mnist.load(locate(DATA), "test")
    content.check(predictions, images, table)
    overall, per_digit = content.rates(predictions)
    shown = content.examples(predictions)
    return {
        "params": content.params_texts(load(WORKSPACE, PARAMS, parse_yaml)),
        "overall": overall,
        "per_digit": per_digit,
        "confusion": content.confusion(predictions),
        "examples": {
            "columns": content.SHEET_COLUMNS,
            "rows": [list(row) for row in shown.itertuples(index=False)],
        },
        "sheet": content.data_uri(content.sheet(images[shown["index"]])),
        "pictures": content.pictures(locate(PICTURES)),
        "network": content.embed_network(network),
        "parameters": sum(tensor.numel() for tensor in network.state_dict().values()),
        "digest": files.sha256(model.read_bytes()),
    }


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


def template() -> Template:
    """page.html. Whatever goes into it is escaped, but for what `read_source` read."""
    return Environment(
        loader=FileSystemLoader(SOURCES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("page.html")


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
