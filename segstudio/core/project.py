"""A project: the images of one folder, their labels, classes and history, kept in one database.

The labels' truth is in the database; pictures in `labels/` are copies. All methods may be called from any
thread; those that change something are durable when they return and raise UserError where the project is
open for reading only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segstudio.core import class_remaps, file_systems, migrations
from segstudio.core.class_counts import count_classes
from segstudio.core.class_table import ClassTable
from segstudio.core.confusion_cache import ConfusionCache
from segstudio.core.database import Database
from segstudio.core.edit_log import EditLog, read_counts
from segstudio.core.edits import Edit, edit_to
from segstudio.core.errors import UserError
from segstudio.core.image_list import ImageList
from segstudio.core.label_copies import LabelCopies, copy_names
from segstudio.core.label_map import LabelArray, LabelMap, converted, ignore_value
from segstudio.core.project_home import DATABASE, find_home
from segstudio.core.project_lock import ProjectLock
from segstudio.core.project_settings import ProjectSettings
from segstudio.core.records import (
    SPLITS,
    STATUSES,
    AppliedEdit,
    HistoryRow,
    ImageRecord,
    LabelClass,
    Merge,
    ScanReport,
    Split,
    Status,
    StoredEdit,
    printable,
)


class Project:
    """An open project; made by `Project.open`.

    `folder` holds the images, `home` the database. `read_only_reason` is one sentence where it is open for
    reading only, `home_note` one where the home is not beside the images.
    """

    def __init__(self, folder: Path, home: Path, *, lock: ProjectLock | None, read_only_reason: str) -> None:
        self.folder = folder
        self.home = home
        self.name = printable(folder.resolve().name) or printable(str(folder))
        self.database_path = home / DATABASE
        self.read_only_reason = read_only_reason
        self.home_note = ""
        self.backups: tuple[Path, ...] = ()
        self._lock = lock
        self._database = Database(
            self.database_path, read_only=self.read_only, wal=not file_systems.on_network(home)
        )
        self._log = EditLog(self._database)
        self._copies = LabelCopies(home / "labels", self._database)
        self._classes = ClassTable(self._database)
        self._images = ImageList(self._database)
        self._confusions = ConfusionCache(self._database)
        self.settings = ProjectSettings(self._database)
        self._changed_labels: set[int] = set()
        self._names_of_copies: dict[int, str] | None = None

    @property
    def read_only(self) -> bool:
        return self._lock is None

    @classmethod
    def open(cls, folder: Path | str, *, read_only: bool = False) -> Project:
        """Opens or makes the project of a folder.

        A second instance gets it for reading only. Raises UserError: no such folder, made by a newer
        version, damaged, no access.
        """
        folder = Path(folder)
        home = find_home(folder, read_only=read_only)
        reason = "It was opened for reading only." if read_only else ""
        lock: ProjectLock | None = None
        if not read_only and not home.writable:
            reason = f"Opened for reading only: {home.reason}."
        elif not read_only:
            candidate = ProjectLock(home.path / "lock")
            if candidate.acquire():
                lock = candidate
            else:
                reason = f"Opened for reading only: {candidate.holder()} has this project open."
        project = cls(folder, home.path, lock=lock, read_only_reason=reason)
        if home.writable:
            project.home_note = home.reason
        try:
            project._prepare()
            project.settings.read()
        except BaseException:
            project.close()
            raise
        return project

    def _prepare(self) -> None:
        if self.read_only:
            with self._database.reading() as connection:
                version = migrations.version_of(connection)
            migrations.refuse_newer(version, self.database_path)
            if version < migrations.VERSION:
                raise UserError(
                    "This project was made by an older version of SegStudio and cannot be updated here",
                    where=f"in {self.folder}",
                    action="Close other instances, or copy the folder to where it can be written.",
                )
            return
        with self._database.reading() as connection:
            made = migrations.migrate(connection, self.database_path, self.home / "backups")
        self.backups = tuple(made)

    def close(self) -> None:
        """Closes the database and frees the lock. Nothing is left to save at any time."""
        self._database.close()
        if self._lock is not None:
            self._lock.release()

    def _must_write(self) -> None:
        if self.read_only:
            raise UserError(
                "This project is open for reading only",
                where=f"({printable(str(self.folder))})",
                action=self.read_only_reason,
            )

    # Classes

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """The classes in the order of the table."""
        return self._classes.all()

    def set_classes(self, classes: Sequence[LabelClass]) -> None:
        """Replaces the class table. Raises UserError for equal ids or names, and for lost labels.

        A class that has pixels can only leave by `merge_classes`.
        """
        self._must_write()
        kept = {entry.id for entry in classes}
        for entry in self.classes:
            if entry.id not in kept:
                pixels = sum(self.class_pixels(image.id).get(entry.id, 0) for image in self.images())
                if pixels:
                    raise UserError(
                        f'The class "{entry.name}" still has {pixels} labelled pixels',
                        action="Merge it into another class or into unlabelled.",
                    )
        self._classes.replace(classes)

    def merge_classes(self, removed: int, target: int) -> Merge:
        """Makes all pixels of class `removed` count as `target` (`records.UNLABELLED` = -1) and drops it.

        Stores one row and no pixels; `undo_merge` takes it back exactly.
        """
        self._must_write()
        merge = self._classes.merge(removed, target)
        self._changed_labels.update(self.stale_copies())
        return merge

    def undo_merge(self, merge_id: int) -> None:
        """Takes a merge back: the class returns with its pixels. What was painted since stays."""
        self._must_write()
        self._classes.undo_merge(merge_id)
        self._changed_labels.update(self.stale_copies())

    def merges(self) -> list[Merge]:
        """All merges, oldest first."""
        with self._database.reading() as connection:
            return class_remaps.merges(connection)

    # Images

    def scan(self) -> ScanReport:
        """Looks for images in the folder: adds new ones, keeps known ones, marks those that are gone."""
        report = self._images.scan(self.folder, keep=not self.read_only)
        self._names_of_copies = None
        return report

    def images(self) -> list[ImageRecord]:
        """All images in natural order of their paths."""
        return self._images.all()

    def image(self, image_id: int) -> ImageRecord:
        """One image. Raises KeyError for an unknown id."""
        return self._images.one(image_id)

    def image_path(self, image_id: int) -> Path:
        """Where the image's file lies."""
        return self.folder / self.image(image_id).path

    def set_size(self, image_id: int, width: int, height: int) -> None:
        """Keeps the size in pixels after orientation. Raises UserError where labels of another size exist."""
        record = self.image(image_id)
        if (record.width, record.height) == (width, height):
            return
        with self._database.reading() as connection:
            used = connection.execute("SELECT 1 FROM edits WHERE image = ? LIMIT 1", (image_id,)).fetchone()
        if used is not None:
            raise UserError(
                f"The picture is now {width}x{height}, but its labels are {record.width}x{record.height}",
                where=f"in {record.display_name}",
                action="Put the old picture back, or add the new one under another name.",
            )
        self._update(image_id, "width = ?, height = ?", width, height)

    def set_status(self, image_id: int, status: Status) -> None:
        """Keeps the status a person gave."""
        if status not in STATUSES:
            raise ValueError(f"{status!r} is none of {STATUSES}")
        self._update(image_id, "status = ?", status)

    def set_problem(self, image_id: int, problem: str) -> None:
        """Keeps one sentence about what is wrong with the file; "" clears it."""
        self._update(image_id, "problem = ?", problem)

    def set_split(self, image_id: int, split: Split) -> None:
        """Keeps to which part of the data set the image belongs."""
        if split not in SPLITS:
            raise ValueError(f"{split!r} is none of {SPLITS}")
        self._update(image_id, "split = ?", split)

    def _update(self, image_id: int, assignment: str, *values: Any) -> None:
        self._must_write()
        self._images.update(image_id, assignment, *values)

    # Labels

    def load_labels(self, image_id: int) -> LabelMap:
        """The image's labels, all unlabelled where there are none.

        Raises UserError where a tile is damaged or the image's size is not known yet (`set_size`).
        """
        record, width, height = self._sized(image_id)
        return self._log.load(image_id, record.path, width, height, self._classes.dtype())

    def _sized(self, image_id: int) -> tuple[ImageRecord, int, int]:
        record = self.image(image_id)
        if record.width is None or record.height is None:
            raise UserError(
                "The size of the picture is not known yet",
                where=f"for {record.display_name}",
                action=record.problem or "Open it once.",
            )
        return record, record.width, record.height

    def commit(self, image_id: int, edit: Edit) -> StoredEdit:
        """Stores a finished edit; durable when it returns."""
        self._must_write()
        record = self.image(image_id)
        if record.width is not None and (record.width, record.height) != (edit.width, edit.height):
            raise ValueError(f"edit of {edit.width}x{edit.height} for {record.width}x{record.height}")
        self._classes.widen_for(edit)
        stored = self._log.commit(image_id, edit)
        self._changed_labels.add(image_id)
        return stored

    def undo(self, image_id: int) -> AppliedEdit | None:
        """Takes back the newest edit of the image; None where there is none."""
        return self._step(image_id, back=True)

    def redo(self, image_id: int) -> AppliedEdit | None:
        """Brings back the edit that was undone last; None where there is none."""
        return self._step(image_id, back=False)

    def _step(self, image_id: int, *, back: bool) -> AppliedEdit | None:
        self._must_write()
        record = self.image(image_id)
        if record.width is None or record.height is None:
            return None
        applied = self._log.step(
            image_id, record.path, record.width, record.height, self._classes.dtype(), back=back
        )
        if applied is not None:
            self._changed_labels.add(image_id)
        return applied

    def history(self, image_id: int, limit: int = 100) -> list[HistoryRow]:
        """The last edits of the image, newest first, undone ones included."""
        return self._log.history(image_id, limit)

    def import_labels(
        self, image_id: int, array: LabelArray, tool: str = "import", *, check_classes: bool = True
    ) -> StoredEdit | None:
        """Makes `array` (H, W) the image's labels as one undoable edit; None where nothing changes.

        Raises UserError where the size differs, or a value is no class of the project (with
        `check_classes` and a class table).
        """
        self._must_write()
        record = self.image(image_id)
        height, width = array.shape
        if record.width is None:
            self.set_size(image_id, width, height)
        elif (record.width, record.height) != (width, height):
            raise UserError(
                f"The labels are {width}x{height}, but the picture is {record.width}x{record.height}",
                where=f"for {record.display_name}",
                action="Import the labels that belong to this picture.",
            )
        if check_classes:
            self._classes.refuse_unknown(array, record.display_name)
        current = self.load_labels(image_id)
        if array.dtype != current.array.dtype:
            wide = np.promote_types(array.dtype, current.array.dtype)
            array, current = converted(array, wide), LabelMap(converted(current.array, wide))
        edit = edit_to(current, np.ascontiguousarray(array), tool=tool)
        return None if edit is None else self.commit(image_id, edit)

    def class_pixels(self, image_id: int) -> dict[int, int]:
        """Labelled pixels of each class that occurs in the image."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT counts, label_version FROM images WHERE id = ?", (image_id,)
            ).fetchone()
        if row is None:
            raise KeyError(image_id)
        if row[0] is not None or row[1] == 0:
            return read_counts(row[0] or "{}")
        counts = count_classes(self.load_labels(image_id).array)
        if not self.read_only:
            text = json.dumps({str(index): count for index, count in counts.items()})
            with self._database.transaction() as connection:
                connection.execute(
                    "UPDATE images SET counts = ? WHERE id = ? AND label_version = ?",
                    (text, image_id, row[1]),
                )
        return counts

    # Copies for other programs

    def export_copy(self, image_id: int, *, overwrite: bool = False) -> Path | None:
        """Writes the label picture for other programs; None where somebody else changed it meanwhile."""
        self._must_write()
        name = self._copy_names()[image_id]
        if not overwrite and self._copies.held(image_id, name):
            return None
        with self._database.reading() as connection:
            version = connection.execute(
                "SELECT label_version FROM images WHERE id = ?", (image_id,)
            ).fetchone()[0]
        labels = self.load_labels(image_id).array
        return self._copies.write(image_id, name, labels, self._classes.palette(), version)

    def copy_path(self, image_id: int) -> Path:
        """Where the image's label picture lies, or would lie."""
        return self._copies.path(self._copy_names()[image_id])

    def changed_copies(self) -> list[tuple[int, Path]]:
        """(image id, path) of label pictures that another program changed: offer them as an import."""
        return self._copies.changed()

    def stale_copies(self) -> list[int]:
        """Ids of images whose label picture is missing or older than the labels."""
        return self._copies.stale()

    def take_changed_labels(self) -> set[int]:
        """Ids of images whose labels changed since the last call: their copies are to be written."""
        changed, self._changed_labels = self._changed_labels, set()
        return changed

    def _copy_names(self) -> dict[int, str]:
        """The copies' names; they depend on all images together, so a scan makes them anew."""
        names = self._names_of_copies
        if names is None:
            with self._database.reading() as connection:
                rows: Iterable[tuple[int, bytes]] = connection.execute(
                    "SELECT id, path FROM images"
                ).fetchall()
            names = copy_names((number, os.fsdecode(path)) for number, path in rows)
            self._names_of_copies = names
        return names

    # Confusion matrices

    def put_confusion(self, image_id: int, model_key: str, matrix: NDArray[np.int64]) -> None:
        """Keeps the confusion matrix (K, K + 1) of one model on one image, for the labels as they are now."""
        self._must_write()
        self._confusions.put(image_id, model_key, matrix)

    def confusion(self, image_id: int, model_key: str) -> NDArray[np.int64] | None:
        """The kept confusion matrix (K, K + 1); None where there is none or the labels changed since."""
        return self._confusions.get(image_id, model_key)

    def confusions(self, model_key: str) -> dict[int, NDArray[np.int64]]:
        """All kept confusion matrices (K, K + 1) of a model, by image id."""
        return self._confusions.all_of(model_key)

    @property
    def ignore_value(self) -> int:
        """The value of unlabelled pixels in this project's label maps: 255 or 65535."""
        return ignore_value(self._classes.dtype())
