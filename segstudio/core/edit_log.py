"""Tiles and edits in the database: load, commit, undo, redo, history.

A commit writes the edit with its tiles before and after, and the tiles themselves, in one transaction.
Undo and redo read the same rows, which is why they survive a restart.
"""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import dataclass
from typing import Any

from segstudio.core import class_remaps
from segstudio.core.class_counts import Counts, count_classes
from segstudio.core.class_remaps import RemapTables
from segstudio.core.database import Database
from segstudio.core.edits import Edit, TileChange
from segstudio.core.errors import UserError
from segstudio.core.label_map import (
    DamagedTile,
    LabelArray,
    LabelMap,
    Rect,
    converted,
    decode_tile,
    encode_tile,
)
from segstudio.core.records import AppliedEdit, HistoryRow, StoredEdit, printable


@dataclass(frozen=True, slots=True)
class _Packed:
    """A tile's change as it is stored; `since` is the merge it belongs to, None = the newest."""

    tx: int
    ty: int
    before: bytes | None
    after: bytes | None
    since: int | None = None

    @classmethod
    def of(cls, change: TileChange) -> _Packed:
        before = None if change.before is None else encode_tile(change.before)
        after = None if change.after is None else encode_tile(change.after)
        return cls(change.tx, change.ty, before, after)


class EditLog:
    """The label maps of one project and everything that was done to them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, image_id: int, path: str, width: int, height: int, dtype: Any) -> LabelMap:
        """The stored labels of an image. Raises UserError naming the image where a tile is damaged."""
        with self._database.reading() as connection:
            connection.execute("BEGIN")  # tiles and merges of one moment
            try:
                rows = connection.execute(
                    "SELECT tx, ty, remaps, data FROM tiles WHERE image = ?", (image_id,)
                ).fetchall()
                tables = RemapTables(connection)
            finally:
                connection.execute("COMMIT")
        label_map = LabelMap.unlabelled(width, height, dtype)
        for tx, ty, since, data in rows:
            target = label_map.tile(tx, ty)
            try:
                pixels = decode_tile(data)
                if pixels.shape != target.shape:
                    raise DamagedTile(f"it is {pixels.shape} instead of {target.shape}")
            except DamagedTile as error:
                raise _damaged(path, tx, ty, error) from error
            target[...] = tables.apply(converted(pixels, dtype), since)
        return label_map

    def commit(self, image_id: int, edit: Edit) -> StoredEdit:
        """Stores an edit; durable when it returns. What had been undone can no longer be redone."""
        when = time.time()
        packed = [_Packed.of(change) for change in edit.tiles]
        delta = _count_changes(edit)
        with self._database.transaction() as connection:
            newest = class_remaps.newest(connection)
            tables = RemapTables(connection)
            if tables.later_than(0):
                packed = [
                    self._under_merges(connection, image_id, tile, change.after, tables)
                    for tile, change in zip(packed, edit.tiles, strict=True)
                ]
            self._forget_undone(connection, image_id)
            cursor = connection.execute(
                "INSERT INTO edits (image, tool, class_index, pixels, time, x0, y0, x1, y1) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    image_id,
                    edit.tool,
                    edit.class_index,
                    edit.pixels,
                    when,
                    edit.rect.x0,
                    edit.rect.y0,
                    edit.rect.x1,
                    edit.rect.y1,
                ),
            )
            number = int(cursor.lastrowid or 0)
            for tile in packed:
                since = newest if tile.since is None else tile.since
                connection.execute(
                    "INSERT INTO edit_tiles (edit, tx, ty, remaps, before, after) VALUES (?, ?, ?, ?, ?, ?)",
                    (number, tile.tx, tile.ty, since, tile.before, tile.after),
                )
                _put_tile(connection, image_id, tile.tx, tile.ty, since, tile.after)
            _add_counts(connection, image_id, delta)
            connection.execute(
                "UPDATE images SET status = CASE status WHEN 'none' THEN 'draft' ELSE status END, "
                "width = ?, height = ?, label_version = label_version + 1 WHERE id = ?",
                (edit.width, edit.height, image_id),
            )
        return StoredEdit(number, image_id, edit, when)

    @staticmethod
    def _under_merges(
        connection: sqlite3.Connection,
        image_id: int,
        tile: _Packed,
        wanted: LabelArray | None,
        tables: RemapTables,
    ) -> _Packed:
        """The same change, in the terms of a stored tile that is older than a merge.

        Pixels that were not painted keep their old class below the merge.
        """
        row = connection.execute(
            "SELECT remaps, data FROM tiles WHERE image = ? AND ty = ? AND tx = ?",
            (image_id, tile.ty, tile.tx),
        ).fetchone()
        if row is None or wanted is None or not tables.later_than(row[0]):
            return tile
        since, stored = row
        try:
            old = converted(decode_tile(stored), wanted.dtype)
        except DamagedTile:
            return tile  # the new pixels replace what cannot be read
        pixels = tables.painted(old, wanted, since)
        return tile if pixels is None else _Packed(tile.tx, tile.ty, stored, encode_tile(pixels), since)

    def _forget_undone(self, connection: sqlite3.Connection, image_id: int) -> None:
        connection.execute(
            "DELETE FROM edit_tiles WHERE edit IN (SELECT id FROM edits WHERE image = ? AND undone = 1)",
            (image_id,),
        )
        connection.execute("DELETE FROM edits WHERE image = ? AND undone = 1", (image_id,))

    def step(
        self, image_id: int, path: str, width: int, height: int, dtype: Any, *, back: bool
    ) -> AppliedEdit | None:
        """Takes the newest edit back, or the oldest undone one forward again; None where there is none."""
        order = "undone = 0 ORDER BY id DESC" if back else "undone = 1 ORDER BY id ASC"
        with self._database.transaction() as connection:
            row = connection.execute(
                f"SELECT id, tool, class_index, pixels, x0, y0, x1, y1 FROM edits "
                f"WHERE image = ? AND {order} LIMIT 1",
                (image_id,),
            ).fetchone()
            if row is None:
                return None
            number, tool, class_index, pixels, *corners = row
            stored = connection.execute(
                "SELECT tx, ty, remaps, before, after FROM edit_tiles WHERE edit = ? ORDER BY ty, tx",
                (number,),
            ).fetchall()
            tables = RemapTables(connection)

            def read(tx: int, ty: int, since: int, data: bytes | None) -> LabelArray | None:
                if data is None:
                    return None
                try:
                    return tables.apply(converted(decode_tile(data), dtype), since)
                except DamagedTile as error:
                    raise _damaged(path, tx, ty, error) from error

            changes: list[TileChange] = []
            for tx, ty, since, before, after in stored:
                old, new = (after, before) if back else (before, after)
                changes.append(TileChange(tx, ty, read(tx, ty, since, old), read(tx, ty, since, new)))
                _put_tile(connection, image_id, tx, ty, since, new)
            edit = Edit(tool, class_index, tuple(changes), pixels, Rect(*corners), width, height)
            _add_counts(connection, image_id, _count_changes(edit))
            connection.execute("UPDATE edits SET undone = ? WHERE id = ?", (int(back), number))
            connection.execute(
                "UPDATE images SET label_version = label_version + 1 WHERE id = ?", (image_id,)
            )
        return AppliedEdit(edit, edit.rect, tool)

    def history(self, image_id: int, limit: int) -> list[HistoryRow]:
        """The last `limit` edits of an image, newest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT id, tool, class_index, pixels, time, undone FROM edits WHERE image = ? "
                "ORDER BY id DESC LIMIT ?",
                (image_id, limit),
            ).fetchall()
        return [
            HistoryRow(number, name, index, pixels, when, bool(undone))
            for number, name, index, pixels, when, undone in rows
        ]


def _put_tile(
    connection: sqlite3.Connection, image_id: int, tx: int, ty: int, remaps: int, data: bytes | None
) -> None:
    if data is None:
        connection.execute("DELETE FROM tiles WHERE image = ? AND ty = ? AND tx = ?", (image_id, ty, tx))
    else:
        connection.execute(
            "INSERT OR REPLACE INTO tiles (image, ty, tx, remaps, data) VALUES (?, ?, ?, ?, ?)",
            (image_id, ty, tx, remaps, data),
        )


def _count_changes(edit: Edit) -> Counts:
    delta: Counts = {}
    for change in edit.tiles:
        for pixels, sign in ((change.before, -1), (change.after, 1)):
            if pixels is not None:
                for index, count in count_classes(pixels).items():
                    delta[index] = delta.get(index, 0) + sign * count
    return delta


def _add_counts(connection: sqlite3.Connection, image_id: int, delta: Counts) -> None:
    """Brings an image's kept counts up to date; counts that were dropped stay dropped."""
    row = connection.execute("SELECT counts, label_version FROM images WHERE id = ?", (image_id,)).fetchone()
    if row is None or (row[0] is None and row[1] > 0):
        return
    counts = read_counts(row[0] or "{}")
    for index, change in delta.items():
        counts[index] = counts.get(index, 0) + change
    text = json.dumps({str(index): count for index, count in sorted(counts.items()) if count})
    connection.execute("UPDATE images SET counts = ? WHERE id = ?", (text, image_id))


def read_counts(text: str) -> Counts:
    """Counts as they are kept in the images table."""
    return {int(index): int(count) for index, count in json.loads(text).items()}


def _damaged(path: str, tx: int, ty: int, error: DamagedTile) -> UserError:
    return UserError(
        f"The stored labels of tile ({tx}, {ty}) are damaged",
        where=f"in {printable(path)}",
        action="Run `segstudio project check --repair` on the project's folder.",
        details=str(error),
    )
