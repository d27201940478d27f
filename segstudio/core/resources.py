"""Where the files lie that come with the application: icons, taxonomies, themes, the demo.

In a checkout they are beside the package, in a wheel inside it, in a bundle where it was unpacked.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

from segstudio.core.errors import UserError


@cache
def _root() -> Path:
    package = Path(__file__).resolve().parents[1]
    candidates = [package / "resources", package.parent / "resources"]
    bundle = getattr(sys, "_MEIPASS", None)
    if bundle:
        candidates = [Path(bundle, "segstudio", "resources"), Path(bundle, "resources"), *candidates]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise UserError(
        "The files that come with SegStudio are missing",
        where=f"beside {package}",
        action="Install SegStudio again.",
    )


def resource(*parts: str) -> Path:
    """The path of one bundled file or folder; it need not exist. Raises UserError without resources."""
    return _root().joinpath(*parts)
