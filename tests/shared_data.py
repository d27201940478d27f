"""Where the reference and data folders lie that a developer has beside the checkout.

They are not part of the project: tests that need them are skipped with a reason elsewhere.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[1]
_CANDIDATE = Path(os.environ.get("SEGSTUDIO_SHARED", _ROOT.parent / "shared"))

SHARED: Path | None = _CANDIDATE if (_CANDIDATE / "reference").is_dir() else None

needs_shared = pytest.mark.skipif(SHARED is None, reason="needs the shared reference and data folders")


def shared(*parts: str) -> Path:
    """A path inside the shared folder. Raises AssertionError where there is none."""
    assert SHARED is not None, "mark the test with needs_shared"
    return SHARED.joinpath(*parts)
