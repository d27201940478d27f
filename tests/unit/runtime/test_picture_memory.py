"""Memory for pictures is taken and given back away from the window's thread, and nothing is left behind."""

from __future__ import annotations

import gc
import threading

import pytest
from PySide6.QtCore import QThread

from segstudio.ipc import MappedArray, mapped
from segstudio.runtime import picture_memory
from segstudio.runtime.picture_memory import Lease, PictureMemory


@pytest.fixture
def memory(qapp):
    made = PictureMemory()
    yield made
    made.deleteLater()


def test_memory_is_taken_on_another_thread_and_told_in_this_one(qtbot, memory, monkeypatch):
    taken_in: list[threading.Thread] = []
    create = MappedArray.create

    def watched(shape, dtype):
        taken_in.append(threading.current_thread())
        return create(shape, dtype)

    monkeypatch.setattr(picture_memory.MappedArray, "create", watched)
    told: list[tuple[Lease, QThread]] = []
    memory.ask(4096, lambda lease: told.append((lease, QThread.currentThread())))
    qtbot.waitUntil(lambda: bool(told))
    lease, told_in = told[0]
    assert lease.memory.array.nbytes == 4096 and not lease.memory.array.any()
    assert told_in is memory.thread()
    assert taken_in[0] is not threading.main_thread()


def test_the_file_goes_with_the_last_who_holds_the_lease(qtbot, memory):
    told: list[Lease] = []
    memory.ask(4096, told.append)
    qtbot.waitUntil(lambda: bool(told))
    path, pixels = told[0].memory.path, told[0].memory.array
    assert path.exists()
    holder = told.pop()
    gc.collect()
    assert path.exists()
    del holder
    gc.collect()
    assert not path.exists()
    pixels[:] = 7  # whoever still has the array may use it
    assert int(pixels.sum()) == 7 * 4096


def test_a_dropped_wish_is_never_told(qtbot, memory):
    told: list[str] = []
    memory.ask(4096, lambda _found: told.append("first")).drop()
    memory.ask(4096, lambda _found: told.append("second"))
    qtbot.waitUntil(lambda: bool(told))
    assert told == ["second"]


def test_a_full_disk_is_told_and_later_wishes_are_served(qtbot, memory, monkeypatch):
    def full(_descriptor, _nbytes):
        raise OSError(28, "No space left on device")

    told: list[object] = []
    with monkeypatch.context() as patch:
        patch.setattr(mapped, "_reserve", full)
        memory.ask(4096, told.append)
        qtbot.waitUntil(lambda: len(told) == 1)
    memory.ask(4096, told.append)
    qtbot.waitUntil(lambda: len(told) == 2)
    assert isinstance(told[0], OSError) and isinstance(told[1], Lease)
