"""Run the network of a page outside of a browser, with Node.js."""

import json
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from stages.common.errors import UserError
from stages.common.images import Images

MAIN = """
const tensors = readTensors(network);
const results = images.map((image) => classify(tensors, network, image.map((v) => v / 255)));
console.log(JSON.stringify(results));
"""


def find_node() -> str | None:
    """The program: of the system, or that of the package playwright, which the tests install."""
    playwright = find_spec("playwright")
    folder = Path(playwright.origin).parent / "driver" if playwright and playwright.origin else ""
    return shutil.which("node") or shutil.which("node", path=str(folder))


def classify(node: str, page: str, images: Images) -> Any:  # noqa: ANN401 - whatever it says
    """The probabilities, a list for each image, by the script and the weights in a page.

    Raises:
        UserError: the script ends with an error.
    """
    network, _, script, *_ = re.findall("<script.*?>(.*?)</script>", page, re.DOTALL)
    pixels = json.dumps(images.transpose(0, 3, 1, 2).reshape(len(images), -1).tolist())
    source = f"{script}\nconst network = {network};\nconst images = {pixels};\n{MAIN}"
    process = subprocess.run(
        [node, "-"], input=source, capture_output=True, encoding="utf-8", check=False
    )
    if process.returncode:
        error = re.search(r"^\w*Error: .*", process.stderr, re.MULTILINE)
        raise UserError(f"tools/page/network.js: {node}: {error[0] if error else process.stderr}")
    return json.loads(process.stdout)
