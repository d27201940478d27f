"""Closing a project's database while threads work with it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from segstudio.core.database import Database
from segstudio.core.errors import UserError


@pytest.fixture
def database(tmp_path: Path) -> Database:
    made = Database(tmp_path / "project.sqlite")
    with made.transaction() as connection:
        connection.execute("CREATE TABLE numbers (value INTEGER)")
    return made


def test_close_waits_for_a_thread_that_is_reading(database: Database) -> None:
    inside, go_on, order = threading.Event(), threading.Event(), []

    def read() -> None:
        with database.reading() as connection:
            inside.set()
            assert go_on.wait(10)
            with database.reading() as same:  # a part of what began before the end
                assert same is connection
                same.execute("SELECT count(*) FROM numbers").fetchone()
            order.append("read")

    def close() -> None:
        database.close()
        order.append("closed")

    with ThreadPoolExecutor(2) as threads:
        reading = threads.submit(read)
        assert inside.wait(10)
        closing = threads.submit(close)
        while not database.closed:
            pass
        assert not closing.done()
        with pytest.raises(UserError, match="The project is closed"), database.reading():
            pass
        go_on.set()
        reading.result(10)
        closing.result(10)
    assert order == ["read", "closed"]


def test_threads_that_read_all_the_time_end_in_a_sentence(database: Database) -> None:
    started = threading.Semaphore(0)

    def read() -> str:
        for number in range(10**9):
            try:
                with database.reading() as connection:
                    connection.execute("SELECT count(*) FROM numbers").fetchone()
            except UserError as error:
                return str(error)
            if number == 20:
                started.release()
        return ""

    with ThreadPoolExecutor(3) as threads:
        reading = [threads.submit(read) for _ in range(3)]
        for _ in reading:
            assert started.acquire(timeout=10)
        database.close()
        assert all("The project is closed" in each.result(10) for each in reading)


def test_a_part_of_a_transaction_may_read(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("INSERT INTO numbers VALUES (1)")
        with database.reading() as same:
            assert same.execute("SELECT count(*) FROM numbers").fetchone() == (1,)
    database.close()
    database.close()
