"""Parts of the project that a copy may delete: docs/adapting.md lists them."""

import pytest

from tests.support.runner import ROOT


def needs(part: str) -> pytest.MarkDecorator:
    """Skip a test where a folder or file is away."""
    return pytest.mark.skipif(not (ROOT / part).exists(), reason=f"there is no {part} here")
