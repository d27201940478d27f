"""The label pictures beside the project, for other programs: names, writing, changes by others.

A copy is never overwritten where another program changed it since we wrote it; it is offered as an import
instead, until somebody decides.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from segstudio.core import atomic_file, palette_png
from segstudio.core.database import Database
from segstudio.core.errors import UserError
from segstudio.core.label_map import LabelArray

_LONGEST_NAME = 255


def copy_names(images: Iterable[tuple[int, str]]) -> dict[int, str]:
    """The copy's path, relative to the labels folder, for every (id, path) of a project.

    The path without suffix; with it where two would clash, also on systems that ignore case.
    """
    listed = list(images)
    bare: dict[str, int] = {}
    for _, path in listed:
        stem = _stem(path)
        bare[stem.casefold()] = bare.get(stem.casefold(), 0) + 1
    result: dict[int, str] = {}
    taken: set[str] = set()
    clashing: list[tuple[int, str]] = []
    for number, path in listed:
        name = f"{_stem(path)}.png"
        if bare[_stem(path).casefold()] == 1 and _fits(name):
            result[number] = name
            taken.add(name.casefold())
        else:
            clashing.append((number, path))
    for number, path in clashing:
        name = f"{path}.png"
        if name.casefold() in taken or not _fits(name):
            place = PurePosixPath(path)
            short = os.fsdecode(os.fsencode(place.name)[:200])
            name = str(place.with_name(f"{short}~{number}.png"))
        result[number] = name
        taken.add(name.casefold())
    return result


def _stem(path: str) -> str:
    return str(PurePosixPath(path).with_suffix(""))


def _fits(name: str) -> bool:
    return len(os.fsencode(PurePosixPath(name).name)) <= _LONGEST_NAME


class LabelCopies:
    """The folder of copies and what we last wrote there."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder
        self._database = database

    def path(self, name: str) -> Path:
        return self.folder / name

    def held(self, image_id: int, name: str) -> bool:
        """Whether another program changed the picture that lies where this copy belongs."""
        target = self.path(name)
        return target.exists() and self._changed(target, self._known(image_id))

    def write(
        self,
        image_id: int,
        name: str,
        labels: LabelArray,
        palette: list[tuple[int, int, int]],
        label_version: int,
    ) -> Path:
        """Writes one copy of the labels as they were at `label_version`. Raises UserError."""
        target = self.path(name)
        known = self._known(image_id)
        data = palette_png.encode(labels, palette)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            atomic_file.write_bytes(target, data)
            state = target.stat()
        except OSError as error:
            raise UserError(
                "The copy of the labels could not be written",
                where=f"to {target}",
                action="The labels themselves are saved. Free some space or check the permissions.",
                details=str(error),
            ) from error
        digest = hashlib.sha256(data).hexdigest()
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO copies (image, name, sha256, size, mtime_ns, label_version) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (image_id, os.fsencode(name), digest, state.st_size, state.st_mtime_ns, label_version),
            )
        if known is not None and known[0] != name:
            # A second image took the short name: ours moved, so the old one goes unless it was changed.
            old = self.path(known[0])
            if old.exists() and not self._changed(old, known):
                old.unlink()
        return target

    def changed(self) -> list[tuple[int, Path]]:
        """(image id, path) of every copy that another program changed since we wrote it."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT image, name, sha256, size, mtime_ns FROM copies").fetchall()
        result = []
        for image_id, name, *rest in rows:
            known = (os.fsdecode(name), *rest)
            path = self.path(known[0])
            if path.exists() and self._changed(path, known):
                result.append((image_id, path))
        return result

    def stale(self) -> list[int]:
        """Ids of images whose labels are newer than their copy, or that have labels and no copy."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT images.id FROM images LEFT JOIN copies ON copies.image = images.id "
                "WHERE images.label_version > coalesce(copies.label_version, 0)"
            ).fetchall()
        return [row[0] for row in rows]

    def _known(self, image_id: int) -> tuple[str, str, int, int] | None:
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT name, sha256, size, mtime_ns FROM copies WHERE image = ?", (image_id,)
            ).fetchone()
        return None if row is None else (os.fsdecode(row[0]), row[1], row[2], row[3])

    @staticmethod
    def _changed(path: Path, known: tuple[str, str, int, int] | None) -> bool:
        if known is None:
            return True  # somebody put a picture there before we wrote one
        _, digest, size, mtime_ns = known
        state = path.stat()
        if (state.st_size, state.st_mtime_ns) == (size, mtime_ns):
            return False
        return hashlib.sha256(path.read_bytes()).hexdigest() != digest
