"""Merged classes as a table that is applied when tiles are read: no stored pixel changes.

Every tile remembers from which merge on they apply to it. So a merge costs one row, and taking it back
brings exactly the old pixels back, also in tiles that were painted on meanwhile.
"""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import asdict
from typing import Any

import numpy as np

from segstudio.core.label_map import LabelArray, ignore_value
from segstudio.core.records import UNLABELLED, LabelClass, Merge


def newest(connection: sqlite3.Connection) -> int:
    """The number of the newest merge, taken back or not; 0 when there was none."""
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM remaps").fetchone()[0])


def merges(connection: sqlite3.Connection) -> list[Merge]:
    """All merges, oldest first."""
    rows = connection.execute("SELECT id, removed, target, time, undone FROM remaps ORDER BY id")
    return [
        Merge(number, LabelClass.from_json(json.loads(removed)), target, when, bool(undone))
        for number, removed, target, when, undone in rows
    ]


def add(connection: sqlite3.Connection, removed: LabelClass, target: int, position: int) -> int:
    """Stores a merge inside the caller's transaction and gives its number.

    `position` is the class's place in the table, for its return.
    """
    cursor = connection.execute(
        "INSERT INTO remaps (source, target, removed, time) VALUES (?, ?, ?, ?)",
        (removed.id, target, json.dumps({**asdict(removed), "position": position}), time.time()),
    )
    return int(cursor.lastrowid or 0)


def position(connection: sqlite3.Connection, merge_id: int) -> int:
    """The place in the table that the class of a merge had."""
    row = connection.execute("SELECT removed FROM remaps WHERE id = ?", (merge_id,)).fetchone()
    return int(json.loads(row[0])["position"])


class RemapTables:
    """The merges of one moment, composed for tiles of any age."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        rows = connection.execute("SELECT id, source, target FROM remaps WHERE undone = 0 ORDER BY id")
        self._rows: list[tuple[int, int, int]] = [(row[0], row[1], row[2]) for row in rows]
        self._tables: dict[tuple[int, str], LabelArray | None] = {}

    def apply(self, pixels: LabelArray, since: int) -> LabelArray:
        """`pixels` of a tile written when merge `since` was the newest, with all later merges applied."""
        key = (since, pixels.dtype.name)
        if key not in self._tables:
            self._tables[key] = self._compose(since, pixels.dtype)
        table = self._tables[key]
        if table is None:
            return pixels
        mapped: LabelArray = table[pixels]
        return mapped

    def later_than(self, since: int) -> bool:
        """Whether a merge applies to tiles of merge `since`."""
        return bool(self._rows) and self._rows[-1][0] > since

    def painted(self, old: LabelArray, wanted: LabelArray, since: int) -> LabelArray | None:
        """The tile of merge `since` that shows as `wanted`, equal to `old` wherever that shows already.

        None where there is none: a class number that was merged away is in use again.
        """
        shown = self.apply(old, since)
        result: LabelArray = np.where(shown == wanted, old, wanted)
        return result if np.array_equal(self.apply(result, since), wanted) else None

    def _compose(self, since: int, dtype: Any) -> LabelArray | None:
        later = [(source, target) for number, source, target in self._rows if number > since]
        if not later:
            return None
        unlabelled = ignore_value(dtype)
        table: LabelArray = np.arange(unlabelled + 1, dtype=dtype)
        for source, target in later:
            if source < unlabelled:
                table[table == source] = unlabelled if target == UNLABELLED else target
        return table
