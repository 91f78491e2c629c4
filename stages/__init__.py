"""The pipeline, one module a stage: download, train, evaluate, plot.

To import PyTorch takes a second or more. On a terminal, a word says until then that the stage has
started; the next output covers it.

DVC runs each stage with the first `python` on PATH. If that is not the Python of this project's
environment, the stage ends here with one line, instead of later with a failed import.
"""

import sys

HINT = (
    "run `make repro`, or activate the environment first"
    " (source .venv/bin/activate; on Windows .venv\\Scripts\\activate)"
)

if sys.version_info < (3, 11):  # noqa: UP036 - an older Python must be able to parse this file, to print it
    version = sys.version.split()[0]
    sys.exit("%s is Python %s, not 3.11 to 3.14: %s" % (sys.executable, version, HINT))  # noqa: UP031

from importlib.util import find_spec

REQUIRED = [
    "filelock", "matplotlib", "numpy", "pandas", "pydantic", "requests", "ruamel",
    "safetensors", "torch", "tqdm",
]  # fmt: skip
MISSING = [name for name in REQUIRED if find_spec(name) is None]

if MISSING:
    sys.exit("%s lacks %s: %s" % (sys.executable, ", ".join(MISSING), HINT))  # noqa: UP031

if sys.argv[0] == "-m" and sys.stdout.isatty():  # `python -m stages.STAGE`, before its imports
    print("Starting\r", end="", flush=True)
