"""Making rooms without holding the window: their code is read on a thread, their widgets come part by part.

A room that somebody waits for gets its parts turn after turn of the event loop; one that nobody entered yet
is made ahead, while no hand moves the mouse and no key goes down.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QObject, Qt, QTimer, Signal
from PySide6.QtWidgets import QApplication, QWidget

from segstudio.runtime.turns import Turns
from segstudio.ui.room import Room, Services

SLICE_SECONDS = 0.004  # a turn makes parts for so long; the last of them may take as much again
QUIET_MS = 300  # nobody did anything for so long
BETWEEN_MS = 5  # from one part made ahead to the next

_BY_HAND = frozenset(
    (
        QEvent.Type.MouseMove,
        QEvent.Type.MouseButtonPress,
        QEvent.Type.MouseButtonRelease,
        QEvent.Type.Wheel,
        QEvent.Type.KeyPress,
        QEvent.Type.KeyRelease,
        QEvent.Type.TabletMove,
        QEvent.Type.TouchUpdate,
    )
)


@dataclass(frozen=True, slots=True)
class RoomEntry:
    """A room that exists where its module does. `also` is read ahead with it: code it needs later."""

    title: str
    icon: str
    module: str
    name: str
    also: tuple[str, ...] = ()


class CodeReader(QObject):
    """Imports the rooms' modules one after the other on a thread; `read` comes with the title of each.

    After the first it waits for `go_on`: who computes in Python takes turns with the window's thread.
    """

    read = Signal(str)

    def __init__(self, entries: Sequence[RoomEntry], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._entries = tuple(entries)
        self._has_read: set[str] = set()
        self._thread: threading.Thread | None = None
        self._may_go_on = threading.Event()
        self._is_over = False
        self.read.connect(self._has_read.add)

    def start(self) -> None:
        """A second call does nothing."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._read, name="read rooms", daemon=True)
            self._thread.start()

    def go_on(self) -> None:
        """The first room is made, or somebody waits for another one."""
        self._may_go_on.set()

    def stop(self) -> None:
        """The rest is not read any more."""
        self._is_over = True
        self._may_go_on.set()

    def has_read(self, title: str) -> bool:
        return title in self._has_read

    def _read(self) -> None:
        for entry in self._entries:
            for module in (entry.module, *entry.also):
                importlib.import_module(module)
            with contextlib.suppress(RuntimeError):  # the window may be gone before its code was read
                self.read.emit(entry.title)
            self._may_go_on.wait()
            if self._is_over:
                return


class RoomMaker(QObject):
    """Makes the parts of rooms. `begun` comes with a room that is still empty, `made` with a whole one."""

    begun = Signal(object)
    made = Signal(object)

    def __init__(self, entries: Sequence[RoomEntry], parent: QWidget) -> None:
        super().__init__(parent)
        self._window = parent
        self._code = CodeReader(entries, self)
        self._code.read.connect(self._go_on)
        self._services: Services | None = None
        self._waiting: list[RoomEntry] = []
        self._parts: dict[str, tuple[Room, Iterator[None]]] = {}
        self._hurried = ""
        self._has_made = False
        self._last_by_hand = 0.0
        self._watches = False
        self._timer = QTimer(self, singleShot=True)
        self._timer.timeout.connect(self._turn)
        self._turns = Turns(self)
        self._awaits_turn = False

    def read_ahead(self) -> None:
        """Reads the code of all rooms, so that making one is only building its widgets."""
        self._code.start()

    def want(self, entry: RoomEntry, services: Services, *, hurried: bool = False) -> None:
        """Makes this room: while nobody does anything, or (`hurried`) at once and before all others."""
        self._services = services
        self._code.start()
        if entry not in self._waiting:
            self._waiting.append(entry)
        if hurried:
            self._waiting.sort(key=lambda each: each is not entry)
            self._hurried = entry.title
        if hurried or self._has_made:
            self._code.go_on()
        self._go_on()

    def stop(self) -> None:
        """The window closes: nothing more is made."""
        self._code.stop()
        self._waiting.clear()
        self._timer.stop()
        self._turns.clear()
        self._watch(False)
        for _, parts in self._parts.values():
            parts.close()  # type: ignore[attr-defined]
        self._parts.clear()

    # -- turns -----------------------------------------------------------------------------------------

    def _go_on(self, _title: str = "") -> None:
        entry = self._next()
        self._watch(bool(self._waiting))
        if self._awaits_turn:
            return
        if entry is not None and not self._timer.isActive():
            self._timer.start(0 if entry.title == self._hurried else BETWEEN_MS)
        elif entry is not None and entry.title == self._hurried:
            self._timer.start(0)

    def _next(self) -> RoomEntry | None:
        """The first room whose code is there; of those that are hurried, that one or none."""
        ready = [entry for entry in self._waiting if self._code.has_read(entry.title)]
        if self._hurried and self._waiting and self._waiting[0].title == self._hurried:
            return ready[0] if ready and ready[0] is self._waiting[0] else None
        return ready[0] if ready else None

    def _turn(self) -> None:
        entry = self._next()
        if entry is None or self._services is None:
            return
        rest = QUIET_MS - 1e3 * (time.monotonic() - self._last_by_hand)
        if entry.title != self._hurried and (rest > 0 or QApplication.mouseButtons()):
            self._timer.start(max(BETWEEN_MS, round(rest)))
            return
        self._awaits_turn = True
        self._turns.add(self._make_some)

    def _make_some(self) -> None:
        self._awaits_turn = False
        entry = self._next()
        if entry is None:
            return
        end = time.perf_counter() + SLICE_SECONDS
        while time.perf_counter() < end:
            if not self._make_part(entry):
                break
        self._go_on()

    def _make_part(self, entry: RoomEntry) -> bool:
        """False when the room is whole."""
        assert self._services is not None
        if entry.title not in self._parts:
            room: Room = getattr(importlib.import_module(entry.module), entry.name)(self._services)
            self._parts[entry.title] = (room, _all_parts(room))
            self.begun.emit(room)
            return True
        room, parts = self._parts[entry.title]
        try:
            next(parts)
        except StopIteration:
            self._waiting.remove(entry)
            del self._parts[entry.title]
            if self._hurried == entry.title:
                self._hurried = ""
            self._has_made = True
            self._code.go_on()
            self.made.emit(room)
            return False
        except BaseException:
            # It would fail in every turn; whoever enters the room tries again.
            self._waiting.remove(entry)
            del self._parts[entry.title]
            raise
        return True

    # -- hands -----------------------------------------------------------------------------------------

    def _watch(self, on: bool) -> None:
        """What a hand does comes through the native window: looking there costs nothing at other events."""
        window = self._window.window().windowHandle()
        if window is None or on == self._watches:
            return
        self._watches = on
        if on:
            window.installEventFilter(self)
        else:
            window.removeEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() in _BY_HAND:
            self._last_by_hand = time.monotonic()
        return False


def _all_parts(room: Room) -> Iterator[None]:
    """The room's parts, then the style of all its widgets, innermost first: showing it asks for none."""
    yield from room.parts()
    yield
    for widget in (room.option_bar(), room.widget()):
        if widget is None:
            continue
        inside = widget.findChildren(QWidget, options=Qt.FindChildOption.FindChildrenRecursively)
        for child in reversed(inside):
            child.ensurePolished()
            yield
        widget.ensurePolished()
