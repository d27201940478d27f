"""Where a project keeps its database: beside the images, or in the user's data folder where it cannot."""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from segstudio.core import settings
from segstudio.core.errors import UserError

FOLDER = ".segstudio"
DATABASE = "project.db"


@dataclass(frozen=True, slots=True)
class Home:
    """`path` of the project's own folder; `reason` says why it is not beside the images ("" = it is)."""

    path: Path
    writable: bool
    reason: str = ""


def find_home(folder: Path, *, read_only: bool = False) -> Home:
    """The home of the project of `folder`, made when missing.

    Raises UserError where `folder` is no folder, or where `read_only` is asked and there is no project.
    """
    if not folder.is_dir():
        raise UserError("There is no folder", where=f"at {folder}", action="Choose a folder of images.")
    beside = folder / FOLDER
    elsewhere = _elsewhere(folder)
    if read_only:
        for home in (beside, elsewhere):
            if (home / DATABASE).exists():
                return Home(home, writable=False)
        raise UserError("There is no project", where=f"in {folder}", action="Open it for writing once.")
    try:
        beside.mkdir(exist_ok=True)
        _probe(beside)
    except OSError as error:
        if (beside / DATABASE).exists():
            return Home(beside, writable=False, reason=f"the folder cannot be written to ({error.strerror})")
        elsewhere.mkdir(parents=True, exist_ok=True)
        reason = f"The folder cannot be written to ({error.strerror}), so the labels are kept in {elsewhere}."
        return Home(elsewhere, writable=True, reason=reason)
    return Home(beside, writable=True)


def _elsewhere(folder: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:24]
    return settings.data_folder() / "projects" / digest


def _probe(folder: Path) -> None:
    """Raises OSError where a file cannot be made: permission bits alone do not tell."""
    trial = folder / f".~{secrets.token_hex(6)}"
    trial.touch()
    trial.unlink()
