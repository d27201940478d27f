"""The rooms of the window, one behind the other: made when somebody enters them, each with its option bar."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QSizePolicy, QStackedWidget, QVBoxLayout, QWidget

from segstudio.ui.room import Room, Services

if TYPE_CHECKING:
    from segstudio.ui.filmstrip import Filmstrip


@dataclass(frozen=True, slots=True)
class RoomEntry:
    """A room that exists where its module does."""

    title: str
    icon: str
    module: str
    name: str


ROOMS = (
    RoomEntry("Annotate", "annotate", "segstudio.ui.annotate.room", "AnnotateRoom"),
    RoomEntry("Compare", "compare", "segstudio.ui.compare.room", "CompareRoom"),
    RoomEntry("Attention", "attention", "segstudio.ui.attention.room", "AttentionRoom"),
    RoomEntry("Train", "train", "segstudio.ui.train.room", "TrainRoom"),
)


class Rooms(QWidget):
    """Option bar over room over foot (the image strip). `current` is the room in front, None without one."""

    code_read = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.entries = [entry for entry in ROOMS if importlib.util.find_spec(entry.module) is not None]
        self.current: Room | None = None
        self._made: dict[str, Room] = {}
        self._foot: Filmstrip | None = None
        self._bars = QStackedWidget()
        self._bars.setObjectName("OptionBar")
        self._bars.setFixedHeight(40)
        self._stack = QStackedWidget()
        self._stack.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)
        self._column.addWidget(self._bars)
        self._column.addWidget(self._stack, 1)

    def set_foot(self, foot: Filmstrip) -> None:
        """What lies below every room that does not refuse it."""
        self._foot = foot
        self._column.addWidget(foot)

    def import_ahead(self) -> None:
        """Reads the rooms' code on a thread, so that entering one the first time only builds its widgets.

        `code_read` comes with the title of each room whose code is there.
        """

        def read() -> None:
            for entry in self.entries:
                importlib.import_module(entry.module)
                with contextlib.suppress(RuntimeError):  # the window may be gone before its code was read
                    self.code_read.emit(entry.title)

        threading.Thread(target=read, name="read rooms", daemon=True).start()

    def entry(self, title: str) -> RoomEntry | None:
        """The entry of this title, None where there is none."""
        return next((entry for entry in self.entries if entry.title == title), None)

    def named(self, title: str) -> Room | None:
        """A room that was made already."""
        return self._made.get(title)

    def make(self, entry: RoomEntry, services: Services) -> Room:
        """The room of an entry, made where it is not there yet."""
        known = self._made.get(entry.title)
        if known is not None:
            return known
        room: Room = getattr(importlib.import_module(entry.module), entry.name)(services)
        self._made[entry.title] = room
        self._stack.addWidget(room.widget())
        bar = room.option_bar()
        if bar is not None:
            self._bars.addWidget(bar)
        return room

    def enter(self, room: Room) -> None:
        """Bring a room to the front."""
        if self.current is not None and self.current is not room:
            self.current.deactivated()
        self.current = room
        self._stack.setCurrentWidget(room.widget())
        bar = room.option_bar()
        self._bars.setVisible(bar is not None)
        if bar is not None:
            self._bars.setCurrentWidget(bar)
        if self._foot is not None:
            self._foot.setVisible(getattr(room, "shows_filmstrip", True))
            self._foot.stand_under(room.title, folded=getattr(room, "folds_filmstrip", False))

    def leave(self) -> None:
        """No room is in front any more."""
        if self.current is not None:
            self.current.deactivated()
            self.current = None

    def may_close(self) -> bool:
        """Asks every room; the first that refuses ends the question."""
        return all(getattr(room, "may_close", _always)() for room in self._made.values())

    def shut_down(self) -> None:
        """Tell every room that the window closes."""
        for room in self._made.values():
            closing = getattr(room, "shut_down", None)
            if closing is not None:
                closing()


def _always() -> bool:
    return True
