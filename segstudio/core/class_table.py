"""The classes of a project: their table, merging, and what their number means for the label maps."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

import numpy as np

from segstudio.core import class_remaps
from segstudio.core.database import Database
from segstudio.core.edits import Edit
from segstudio.core.errors import UserError
from segstudio.core.label_map import LabelArray, ignore_value, label_dtype
from segstudio.core.palette_png import UNLABELLED_COLOR
from segstudio.core.records import UNLABELLED, LabelClass, Merge

LARGEST_CLASS = 65534


class ClassTable:
    """Reads and changes the class table of one project's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> tuple[LabelClass, ...]:
        """The classes in the order of the table."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT id, name, color, key, ignored, aliases FROM classes ORDER BY position, id"
            ).fetchall()
        return tuple(
            LabelClass(
                number,
                name,
                (color >> 16, color >> 8 & 255, color & 255),
                key,
                bool(ignored),
                tuple(json.loads(aliases)),
            )
            for number, name, color, key, ignored, aliases in rows
        )

    def replace(self, classes: Sequence[LabelClass]) -> None:
        """Makes `classes` the table. Raises UserError for equal ids or names and for impossible ids."""
        names: dict[str, LabelClass] = {}
        ids: set[int] = set()
        for entry in classes:
            if not 0 <= entry.id <= LARGEST_CLASS or entry.id == 255:
                raise UserError(
                    f'The class "{entry.name}" has the id {entry.id}',
                    action=f"Use 0-254 or 256-{LARGEST_CLASS}; 255 means unlabelled.",
                )
            if not entry.name.strip():
                raise UserError(f"The class with id {entry.id} has no name", action="Give it one.")
            other = names.setdefault(entry.name.strip().casefold(), entry)
            if other is not entry:
                raise UserError(
                    f'Two classes are named "{entry.name}" (ids {other.id} and {entry.id})',
                    action="Rename one of them.",
                )
            if entry.id in ids:
                raise UserError(f"Two classes have the id {entry.id}", action="Change one of them.")
            ids.add(entry.id)
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM classes")
            for position, entry in enumerate(classes):
                self._insert(connection, position, entry)
            if ids and max(ids) > 254:
                self._widen(connection)

    @staticmethod
    def _insert(connection: sqlite3.Connection, position: int, entry: LabelClass) -> None:
        red, green, blue = entry.color
        connection.execute(
            "INSERT INTO classes (id, position, name, color, key, ignored, aliases) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                entry.id,
                position,
                entry.name.strip(),
                red << 16 | green << 8 | blue,
                entry.key,
                int(entry.ignore),
                json.dumps(list(entry.aliases)),
            ),
        )

    def palette(self) -> list[tuple[int, int, int]]:
        """A colour for every pixel value up to the largest class id."""
        classes = self.all()
        colors = [UNLABELLED_COLOR] * (max((entry.id for entry in classes), default=-1) + 1)
        for entry in classes:
            colors[entry.id] = entry.color
        return colors

    # Merging

    def merge(self, removed: int, target: int) -> Merge:
        """Stores a merge and drops the class. Raises UserError for unknown classes."""
        by_id = {entry.id: entry for entry in self.all()}
        if removed not in by_id or (target != UNLABELLED and target not in by_id) or removed == target:
            raise UserError(
                f"Class {removed} cannot be merged into {target}",
                action="Choose two classes of this project.",
            )
        with self._database.transaction() as connection:
            place = connection.execute("SELECT position FROM classes WHERE id = ?", (removed,)).fetchone()[0]
            class_remaps.add(connection, by_id[removed], target, place)
            connection.execute("DELETE FROM classes WHERE id = ?", (removed,))
            self._labels_changed(connection)
            return class_remaps.merges(connection)[-1]

    def undo_merge(self, merge_id: int) -> None:
        """Takes a merge back. Raises UserError where its class's name or id is used again."""
        with self._database.transaction() as connection:
            found = [merge for merge in class_remaps.merges(connection) if merge.id == merge_id]
            if not found or found[0].undone:
                raise UserError("This merge was already taken back")
            entry = found[0].removed
            for other in self.all():
                if other.id == entry.id or other.name.casefold() == entry.name.casefold():
                    raise UserError(
                        f'The class "{entry.name}" cannot come back: its name or id is used again',
                        action=f'Rename or remove the class "{other.name}" first.',
                    )
            connection.execute("UPDATE remaps SET undone = 1 WHERE id = ?", (merge_id,))
            self._insert(connection, class_remaps.position(connection, merge_id), entry)
            self._labels_changed(connection)

    @staticmethod
    def _labels_changed(connection: sqlite3.Connection) -> None:
        connection.execute(
            "UPDATE images SET counts = NULL, label_version = label_version + 1 WHERE label_version > 0"
        )

    # What the class ids mean for label maps

    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """The type of this project's label maps. Once uint16, it stays so."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT 1 FROM settings WHERE name = 'wide_labels'").fetchone()
        return label_dtype(0 if row is None else 255)

    def widen_for(self, edit: Edit) -> None:
        """Makes the project's label maps uint16 where the edit's are."""
        arrays = [pixels for change in edit.tiles for pixels in (change.before, change.after)]
        wide = any(pixels is not None and pixels.dtype == np.uint16 for pixels in arrays)
        if wide and self.dtype() is np.uint8:
            with self._database.transaction() as connection:
                self._widen(connection)

    @staticmethod
    def _widen(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT OR REPLACE INTO settings (name, value) VALUES ('wide_labels', 'true')")

    def refuse_unknown(self, array: LabelArray, name: str) -> None:
        """Raises UserError naming the first value that is no class; without a class table all are fine."""
        ids = {entry.id for entry in self.all()}
        if not ids:
            return
        counts = np.bincount(array.ravel(), minlength=1)
        for value in np.flatnonzero(counts).tolist():
            if value not in ids and value not in (255, ignore_value(array.dtype)):
                raise UserError(
                    f"Label value {value} ({int(counts[value])} px)",
                    where=f"in {name} is none of the project's {len(ids)} classes ({min(ids)}-{max(ids)})",
                    action="Map it to a class or to unlabelled, or add the class.",
                )
