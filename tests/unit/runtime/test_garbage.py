"""The cycle collector of the window's thread: young garbage goes, what is old is looked at only in pauses."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest
from PySide6.QtCore import Qt

from segstudio.runtime import garbage
from segstudio.runtime.garbage import WindowThreadCollector


class Node:
    """Refers to itself, so that only the collector can take it away."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def collector(qapp) -> Iterator[WindowThreadCollector]:
    gc.collect()  # what other tests left would count as a burst
    made = WindowThreadCollector()
    yield made
    made.stop()


def test_cycles_are_collected_by_the_timer_and_not_by_allocating(qtbot, collector):
    gone = weakref.ref(Node())
    for _ in range(5000):
        Node()
    assert gone() is not None
    qtbot.waitUntil(lambda: gone() is None)


def test_what_was_old_and_became_garbage_goes_when_the_person_turns_away(qapp, collector):
    old = Node()
    gone = weakref.ref(old)
    gc.collect()
    gc.freeze()
    del old
    gc.collect()
    assert gone() is not None
    qapp.applicationStateChanged.emit(Qt.ApplicationState.ApplicationInactive)
    assert gone() is None


def test_when_far_more_is_old_than_was_seen_it_is_looked_through_at_work(collector, monkeypatch):
    monkeypatch.setattr(garbage, "_UNSEEN_AT_FIRST", 0)
    old = Node()
    gone = weakref.ref(old)
    gc.collect()
    gc.freeze()
    del old
    collector._set_aside()
    assert gone() is None


def test_nothing_stays_frozen_after_the_end(collector):
    gc.freeze()
    collector.stop()
    assert gc.get_freeze_count() == 0


def test_a_burst_of_objects_is_set_aside_unseen_and_goes_when_the_person_turns_away(
    qapp, collector, monkeypatch
):
    monkeypatch.setattr(garbage, "_BURST", 1000)
    looked: list[int] = []
    collect = gc.collect
    monkeypatch.setattr(garbage.gc, "collect", lambda *level: (looked.append(1), collect(*level)))
    nodes = [Node() for _ in range(2000)]
    gone = weakref.ref(nodes[0])
    collector._collect()
    del nodes
    assert looked == [] and gc.get_freeze_count() > 2000 and gone() is not None
    qapp.applicationStateChanged.emit(Qt.ApplicationState.ApplicationInactive)
    assert gone() is None
