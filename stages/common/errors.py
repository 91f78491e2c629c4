"""How a stage ends when the user has something to mend: a line, no traceback, a non-zero exit."""

import sys
from collections.abc import Callable


class UserError(Exception):
    """A problem that the user can solve. The message names the file, the value, and what to do."""


def run(main: Callable[[], None]) -> None:
    """Call `main`; show what a user can mend as a message on stderr and exit with 1.

    Ctrl-C exits with 130, so that DVC does not take the stage for done.
    """
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
    except OSError as error:
        if error.filename is None:
            raise
        sys.exit(f"{error.filename}: {error.strerror}")
    except KeyboardInterrupt:
        sys.exit(130)
