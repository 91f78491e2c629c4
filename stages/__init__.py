"""The pipeline, one module a stage: download, train, evaluate, plot.

To import PyTorch takes a second or more. On a terminal, a word says until then that the stage has
started; the next output covers it.

DVC runs each stage with the first `python` on PATH. If that is not the Python of this project's
environment, the stage ends here with one line, instead of later with a failed import. It also ends
if a package that decides bytes has another version than requirements-stages.txt says. DVC records
that file as what ran.
"""

import sys

HINT = (
    "run `make repro`, or activate the environment first"
    " (source .venv/bin/activate; on Windows .venv\\Scripts\\activate)"
)

if sys.version_info < (3, 11):  # noqa: UP036 - an older Python must be able to parse this file, to print it
    version = sys.version.split()[0]
    sys.exit("%s is Python %s, not 3.11 to 3.14: %s" % (sys.executable, version, HINT))  # noqa: UP031

from stages.common import inputs, packages  # noqa: F401 - before any other module is read

MISSING = packages.missing()

if MISSING:
    sys.exit("%s lacks %s: %s" % (sys.executable, ", ".join(MISSING), HINT))  # noqa: UP031

if sys.argv[0] == "-m":  # `python -m stages.STAGE`, before its imports
    if sys.stdout.isatty():
        print("Starting\r", end="", flush=True)
    packages.refuse_others()
