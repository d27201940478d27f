"""The images of a project as rows of its database, and how a scan of the folder brings them up to date."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from segstudio.core.database import Database
from segstudio.core.errors import UserError
from segstudio.core.folder_scan import find_images, natural_key
from segstudio.core.records import ImageRecord, ScanReport, printable

_MISSING = "The file is gone from the folder."
_COLUMNS = "id, path, status, width, height, problem, missing, split"


class ImageList:
    """Reads and changes the images table. Paths are stored as the system's bytes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def scan(self, folder: Path, *, keep: bool) -> ScanReport:
        """Looks for images; with `keep`, adds new ones and marks those that are gone. Raises UserError."""
        try:
            found = find_images(folder)
        except OSError as error:
            raise UserError(
                "The folder cannot be read", where=f"({printable(str(folder))})", details=str(error)
            ) from error
        wanted = {os.fsencode(path): path for path in found.paths}
        with self._database.reading() as connection:
            known = dict.fromkeys(row[0] for row in connection.execute("SELECT path FROM images"))
        added = [raw for raw in wanted if raw not in known]
        gone = [raw for raw in known if raw not in wanted]
        if keep:
            with self._database.transaction() as connection:
                connection.executemany("INSERT INTO images (path) VALUES (?)", [(raw,) for raw in added])
                connection.executemany(
                    "UPDATE images SET missing = ?1 WHERE path = ?2 AND missing != ?1",
                    [(int(raw not in wanted), raw) for raw in known],
                )
        return ScanReport(
            added=tuple(wanted[raw] for raw in added),
            missing=tuple(os.fsdecode(raw) for raw in gone),
            total=len(wanted),
            skipped=tuple(found.skipped),
        )

    def all(self) -> list[ImageRecord]:
        """All images in natural order of their paths."""
        with self._database.reading() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM images").fetchall()
        records = [_record(row) for row in rows]
        records.sort(key=lambda record: natural_key(record.path))
        return records

    def one(self, image_id: int) -> ImageRecord:
        """One image. Raises KeyError for an unknown id."""
        with self._database.reading() as connection:
            row = connection.execute(f"SELECT {_COLUMNS} FROM images WHERE id = ?", (image_id,)).fetchone()
        if row is None:
            raise KeyError(image_id)
        return _record(row)

    def update(self, image_id: int, assignment: str, *values: Any) -> None:
        """Sets columns ("status = ?") of one image."""
        with self._database.transaction() as connection:
            connection.execute(f"UPDATE images SET {assignment} WHERE id = ?", (*values, image_id))


def _record(row: tuple[Any, ...]) -> ImageRecord:
    number, path, status, width, height, problem, missing, split = row
    return ImageRecord(
        number, os.fsdecode(path), status, width, height, _MISSING if missing else problem, split
    )
