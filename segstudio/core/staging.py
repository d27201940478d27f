"""A hidden folder beside the place where files will lie: filled first, then moved from in one go."""

from __future__ import annotations

import secrets
import shutil
import time
from pathlib import Path

from segstudio.core.errors import UserError
from segstudio.core.records import printable

_STAGING = ".segstudio-export-"
_LEFT_SECONDS = 24 * 3600.0


def staging_path(target: Path) -> Path:
    """A fresh name for a hidden folder on the disk where `target` lies or will lie."""
    near = next(folder for folder in (target, *target.absolute().parents) if folder.is_dir())
    return near / f"{_STAGING}{secrets.token_hex(8)}"


def make_staging(staging: Path) -> None:
    """Makes the folder of a `staging_path`, and sweeps what killed exports left there. Raises UserError."""
    try:
        for left in staging.parent.glob(f"{_STAGING}*"):
            if time.time() - left.stat().st_mtime > _LEFT_SECONDS:
                drop_staging(left)
        staging.mkdir(mode=0o700)
    except OSError as error:
        raise UserError(
            "Nothing can be written",
            where=f"in {printable(str(staging.parent))}",
            action="Choose another folder, or free some space.",
            details=str(error),
        ) from error


def drop_staging(staging: Path) -> None:
    """Removes the folder of a `staging_path`, and never another one."""
    if staging.name.startswith(_STAGING):
        shutil.rmtree(staging, ignore_errors=True)
