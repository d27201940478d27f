"""The project database's tables, as numbered migrations: number N turns version N - 1 into version N.

Each runs in one transaction, after a backup of a database that already holds something. A migration that
was released is never changed; the next one follows it.
"""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from segstudio.core import atomic_file
from segstudio.core.errors import UserError

APPLICATION_ID = 0x53656753
"""Marks the file as ours ("SegS")."""


@dataclass(frozen=True, slots=True)
class Migration:
    """What one version adds."""

    number: int
    title: str
    statements: tuple[str, ...]


MIGRATIONS = (
    Migration(
        1,
        "images, tiles, edit log, classes, remaps, copies, confusion matrices",
        (
            "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
            """CREATE TABLE classes (
                id INTEGER PRIMARY KEY, position INTEGER NOT NULL, name TEXT NOT NULL, color INTEGER NOT NULL,
                key TEXT NOT NULL, ignored INTEGER NOT NULL, aliases TEXT NOT NULL)""",
            """CREATE TABLE images (
                id INTEGER PRIMARY KEY AUTOINCREMENT, path BLOB NOT NULL UNIQUE,
                status TEXT NOT NULL DEFAULT 'none', width INTEGER, height INTEGER,
                problem TEXT NOT NULL DEFAULT '', missing INTEGER NOT NULL DEFAULT 0,
                split TEXT NOT NULL DEFAULT '', counts TEXT, label_version INTEGER NOT NULL DEFAULT 0)""",
            """CREATE TABLE tiles (
                image INTEGER NOT NULL, ty INTEGER NOT NULL, tx INTEGER NOT NULL, remaps INTEGER NOT NULL,
                data BLOB NOT NULL)""",
            "CREATE UNIQUE INDEX tiles_by_place ON tiles (image, ty, tx)",
            """CREATE TABLE edits (
                id INTEGER PRIMARY KEY AUTOINCREMENT, image INTEGER NOT NULL, tool TEXT NOT NULL,
                class_index INTEGER NOT NULL, pixels INTEGER NOT NULL, time REAL NOT NULL,
                undone INTEGER NOT NULL DEFAULT 0,
                x0 INTEGER NOT NULL, y0 INTEGER NOT NULL, x1 INTEGER NOT NULL, y1 INTEGER NOT NULL)""",
            "CREATE INDEX edits_by_image ON edits (image, undone, id)",
            """CREATE TABLE edit_tiles (
                edit INTEGER NOT NULL, ty INTEGER NOT NULL, tx INTEGER NOT NULL, remaps INTEGER NOT NULL,
                before BLOB, after BLOB)""",
            "CREATE INDEX edit_tiles_by_edit ON edit_tiles (edit)",
            """CREATE TABLE remaps (
                id INTEGER PRIMARY KEY AUTOINCREMENT, source INTEGER NOT NULL, target INTEGER NOT NULL,
                removed TEXT NOT NULL, time REAL NOT NULL, undone INTEGER NOT NULL DEFAULT 0)""",
            """CREATE TABLE copies (
                image INTEGER PRIMARY KEY, name BLOB NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
                mtime_ns INTEGER NOT NULL, label_version INTEGER NOT NULL)""",
            """CREATE TABLE confusions (
                image INTEGER NOT NULL, model TEXT NOT NULL, label_version INTEGER NOT NULL,
                classes INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (image, model))""",
        ),
    ),
)
VERSION = MIGRATIONS[-1].number


def version_of(connection: sqlite3.Connection) -> int:
    """The version of an open database; 0 for a new one."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def refuse_newer(version: int, path: Path) -> None:
    """Raises UserError where this program is too old for the project."""
    if version > VERSION:
        raise UserError(
            f"This project was made by a newer version of SegStudio (format {version}; this one reads up to "
            f"{VERSION})",
            where=f"in {path}",
            action="Update SegStudio to open it; nothing was changed.",
        )


def migrate(
    connection: sqlite3.Connection,
    path: Path,
    backups: Path,
    migrations: tuple[Migration, ...] | None = None,
) -> list[Path]:
    """Brings the database to the last version and gives the backups made on the way.

    `connection` is in autocommit mode; `migrations` None means those of this version. Raises UserError for
    a newer or a foreign database.
    """
    version = version_of(connection)
    refuse_newer(version, path)
    application = int(connection.execute("PRAGMA application_id").fetchone()[0])
    if version and application != APPLICATION_ID:
        raise UserError(
            "This database is not a SegStudio project:",
            where=str(path),
            action="Move it away to start a new project here.",
        )
    made: list[Path] = []
    for migration in MIGRATIONS if migrations is None else migrations:
        if migration.number <= version:
            continue
        if version:
            made.append(_backup(connection, backups, version))
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in migration.statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {migration.number}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        # A new database is filled in one go: there is nothing to back up before its later steps.
        version = migration.number if version else 0
    return made


def _backup(connection: sqlite3.Connection, folder: Path, version: int) -> Path:
    folder.mkdir(exist_ok=True)
    target = folder / f"project-version{version}-{time.strftime('%Y%m%d-%H%M%S')}.db"
    with atomic_file.replacing(target) as temporary:
        copy = sqlite3.connect(temporary)
        try:
            connection.backup(copy)
        finally:
            copy.close()
    return target
