"""What people run beside the pipeline: one module a tool."""

import stages  # noqa: F401 - says so, in one line, when this is not the Python of the project
