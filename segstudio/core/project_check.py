"""Looking through a project for damage, and repairing what the edit log still holds.

SQLite's own check sees the structure of the file, not the content of a tile; every tile is therefore
checked against its checksum, one row at a time, so that one bad page hides nothing else.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segstudio.core import migrations
from segstudio.core.errors import UserError
from segstudio.core.label_map import TILE, DamagedTile, check_tile, decode_tile
from segstudio.core.project_home import DATABASE, find_home
from segstudio.core.records import printable


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is wrong: `image` by path ("" = the project), the tile if one, a sentence.

    `repaired` says that the tile was put back from the edit log.
    """

    image: str
    tile: tuple[int, int] | None
    what: str
    repaired: bool = False

    def __str__(self) -> str:
        place = f"{printable(self.image)}: " if self.image else ""
        tile = f"tile ({self.tile[0]}, {self.tile[1]}): " if self.tile else ""
        return f"{place}{tile}{self.what}{' (repaired)' if self.repaired else ''}"


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What was looked at and what is wrong with it."""

    images: int
    tiles: int
    edits: int
    damages: tuple[Damage, ...]

    @property
    def sound(self) -> bool:
        return all(damage.repaired for damage in self.damages)


def check_project(
    folder: Path, *, repair: bool = False, progress: Callable[[float], None] | None = None
) -> CheckReport:
    """Looks at every stored tile of the project of `folder`.

    With `repair`, a damaged tile is put back from the newest edit that wrote it; the project must not be
    open elsewhere then. Raises UserError where there is no project or its database cannot be read at all.
    """
    home = find_home(folder, read_only=True).path
    path = home / DATABASE
    mode = "rw" if repair else "ro"
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None)
        ) as connection:
            migrations.refuse_newer(migrations.version_of(connection), path)
            return _Check(connection, folder, repair, progress).run()
    except sqlite3.Error as error:
        raise UserError(
            "The project's database cannot be read at all",
            where=f"({printable(str(path))})",
            action=f"Older states are in {printable(str(home / 'backups'))}, label pictures in "
            f"{printable(str(home / 'labels'))}.",
            details=str(error),
        ) from error


class _Check:
    def __init__(
        self,
        connection: sqlite3.Connection,
        folder: Path,
        repair: bool,
        progress: Callable[[float], None] | None,
    ) -> None:
        self._connection = connection
        self._folder = folder
        self._repair = repair
        self._progress = progress
        self._damages: list[Damage] = []
        self._paths: dict[int, str] = {}
        self._sizes: dict[int, tuple[int, int]] = {}

    def run(self) -> CheckReport:
        self._structure()
        for number, raw, width, height in self._rows("SELECT id, path, width, height FROM images"):
            self._paths[number] = os.fsdecode(raw)
            if width and height:
                self._sizes[number] = (width, height)
        for image, path in self._paths.items():
            if not (self._folder / path).exists():
                self._damages.append(Damage(self._paths[image], None, "the image is gone from the folder"))
        tiles = self._rows("SELECT rowid, image, tx, ty FROM tiles INDEXED BY tiles_by_place")
        for done, (rowid, image, tx, ty) in enumerate(tiles):
            self._tile(rowid, image, tx, ty)
            if self._progress is not None and done % 256 == 0:
                self._progress(done / len(tiles))
        edits = self._rows("SELECT id, image FROM edits")
        for number, image in edits:
            self._edit(number, image)
        return CheckReport(len(self._paths), len(tiles), len(edits), tuple(self._damages))

    def _structure(self) -> None:
        for (line,) in self._rows("PRAGMA integrity_check(20)"):
            if line != "ok":
                self._damages.append(Damage("", None, f"the database's structure is damaged: {line}"))

    def _rows(self, query: str, *values: int) -> list[tuple[Any, ...]]:
        """All rows of a query, or those before the first that cannot be read."""
        rows: list[tuple[Any, ...]] = []
        try:
            for row in self._connection.execute(query, values):
                rows.append(row)
        except sqlite3.DatabaseError as error:
            table = query.split(" FROM ")[-1].split()[0]
            self._damages.append(Damage("", None, f"the table {table} cannot be read to its end: {error}"))
        return rows

    def _tile(self, rowid: int, image: int, tx: int, ty: int) -> None:
        name = self._paths.get(image, f"image {image}")
        try:
            data = self._connection.execute("SELECT data FROM tiles WHERE rowid = ?", (rowid,)).fetchone()[0]
            check_tile(data)
            size = self._sizes.get(image)
            if size is not None:
                expected = (min(TILE, size[1] - ty * TILE), min(TILE, size[0] - tx * TILE))
                if decode_tile(data).shape != expected:
                    raise DamagedTile(f"it has another size than {expected[1]}x{expected[0]}")
        except (DamagedTile, sqlite3.DatabaseError, TypeError) as error:
            repaired = self._repair and self._put_back(rowid, image, tx, ty)
            self._damages.append(Damage(name, (tx, ty), f"the stored labels are damaged: {error}", repaired))

    def _put_back(self, rowid: int, image: int, tx: int, ty: int) -> bool:
        """Restores a tile from the newest edit that is not undone, or else from before the next one."""
        for column, undone, order in (("after", 0, "DESC"), ("before", 1, "ASC")):
            row = self._connection.execute(
                f"SELECT {column}, remaps FROM edit_tiles JOIN edits ON edits.id = edit "
                f"WHERE image = ? AND tx = ? AND ty = ? AND undone = ? ORDER BY edit {order} LIMIT 1",
                (image, tx, ty, undone),
            ).fetchone()
            if row is None or row[0] is None:
                continue
            try:
                check_tile(row[0])
            except DamagedTile:
                return False
            self._connection.execute(
                "UPDATE tiles SET data = ?, remaps = ? WHERE rowid = ?", (row[0], row[1], rowid)
            )
            return True
        return False

    def _edit(self, number: int, image: int) -> None:
        name = self._paths.get(image, f"image {image}")
        for (rowid,) in self._rows("SELECT rowid FROM edit_tiles WHERE edit = ?", number):
            try:
                tx, ty, before, after = self._connection.execute(
                    "SELECT tx, ty, before, after FROM edit_tiles WHERE rowid = ?", (rowid,)
                ).fetchone()
                for data in (before, after):
                    if data is not None:
                        check_tile(data)
            except sqlite3.DatabaseError as error:
                self._damages.append(Damage(name, None, f"step {number} of the history is damaged: {error}"))
            except DamagedTile as error:
                what = f"step {number} of the history is damaged: {error}"
                self._damages.append(Damage(name, (tx, ty), what))
