"""Access to the project's SQLite file: one connection a thread, one writer at a time, plain errors."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segstudio.core.errors import UserError

_BUSY_SECONDS = 10.0


class Database:
    """An open SQLite file. Readers never wait for the writer where the write-ahead log can be used.

    `wal` False uses the rollback journal, which network file systems need.
    """

    def __init__(self, path: Path, *, read_only: bool = False, wal: bool = True) -> None:
        self.path = path
        self.read_only = read_only
        self._wal = wal
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._guard = threading.Condition()
        self._uses = 0
        self._writing = threading.RLock()
        self._closed = False

    def connection(self) -> sqlite3.Connection:
        """This thread's connection, in autocommit mode. Raises UserError where the file cannot be opened."""
        existing: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if existing is not None:
            return existing
        with self._guard:
            if self._closed:
                raise UserError("The project is closed", where=str(self.path))
            try:
                connection = self._open()
            except sqlite3.Error as error:
                raise readable(error, self.path) from error
            self._all.append(connection)
        self._local.connection = connection
        return connection

    def _open(self) -> sqlite3.Connection:
        if self.read_only:
            connection = self._connect("?mode=ro")
            try:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            except sqlite3.OperationalError:
                # On a read-only medium the log's index cannot be made; nobody else can be writing there.
                connection.close()
                connection = self._connect("?immutable=1")
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            connection.execute("PRAGMA query_only = 1")
            return connection
        connection = self._connect("")
        journal = "WAL" if self._wal else "DELETE"
        connection.execute(f"PRAGMA journal_mode = {journal}").fetchone()
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _connect(self, options: str) -> sqlite3.Connection:
        # The connection is used by one thread only; `close` alone reaches it from another.
        return sqlite3.connect(
            self.path.absolute().as_uri() + options,
            uri=True,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; durable when the block is left. Raises UserError when it cannot be stored."""
        with self._writing, self._in_use():
            connection = self.connection()
            try:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise readable(error, self.path) from error

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection, with SQLite's errors told as UserError."""
        with self._in_use():
            try:
                yield self.connection()
            except sqlite3.Error as error:
                raise readable(error, self.path) from error

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        """Inside, no connection is closed. Raises UserError where it begins after `close` was called."""
        if getattr(self._local, "is_in_use", False):  # a part of what began before
            yield
            return
        with self._guard:
            if self._closed:
                raise UserError("The project is closed", where=str(self.path))
            self._uses += 1
        self._local.is_in_use = True
        try:
            yield
        finally:
            self._local.is_in_use = False
            with self._guard:
                self._uses -= 1
                self._guard.notify_all()

    @property
    def closed(self) -> bool:
        """Whether `close` was called: what begins from now on is refused."""
        return self._closed

    def close(self) -> None:
        """Refuses what begins from now on, waits for what is under way and closes all connections.

        SQLite does not survive that a connection is closed while another thread is at work with it.
        """
        with self._guard:
            self._closed = True
            self._guard.wait_for(lambda: not self._uses)
            for connection in self._all:
                connection.close()
            self._all.clear()
        self._local = threading.local()


def readable(error: sqlite3.Error, path: Path) -> UserError:
    """SQLite's error as a sentence with a remedy."""
    text = str(error)
    volume = path.parent
    if "full" in text:
        what, action = (
            "The disk is full, nothing more can be saved",
            "Free some space and go on; nothing saved is lost.",
        )
    elif "readonly" in text or "unable to open" in text:
        what, action = "The project cannot be opened for writing", "Check the folder's permissions."
    elif "locked" in text or "busy" in text:
        what, action = "Another program keeps the project locked", "Close it and try again."
    elif "malformed" in text or "not a database" in text:
        what = "The project's database is damaged"
        action = f"Run `segstudio project check {os.fsdecode(volume.parent)}` to see what can be saved."
    else:
        what, action = "The project's database could not be used", "Check the drive and try again."
    return UserError(what, where=f"in {volume}", action=action, details=f"{type(error).__name__}: {text}")
