"""The rooms of the window, one behind the other, each with its option bar."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QSizePolicy, QStackedWidget, QVBoxLayout, QWidget

from segstudio.runtime.turns import Turns
from segstudio.ui.room import Room, Services
from segstudio.ui.room_making import RoomEntry, RoomMaker
from segstudio.ui.unveiling import Unveiling

if TYPE_CHECKING:
    from segstudio.ui.filmstrip import Filmstrip

ROOMS = (
    RoomEntry("Annotate", "annotate", "segstudio.ui.annotate.room", "AnnotateRoom"),
    RoomEntry("Compare", "compare", "segstudio.ui.compare.room", "CompareRoom"),
    RoomEntry("Attention", "attention", "segstudio.ui.attention.room", "AttentionRoom"),
    # pyqtgraph comes with the plot: it makes no QObject when it is imported, so a thread may do it.
    RoomEntry("Train", "train", "segstudio.ui.train.room", "TrainRoom", also=("segstudio.ui.train.plot",)),
)


class Rooms(QWidget):
    """Option bar over room over foot (the image strip).

    `current` is the room in front: None without one, and while the one that was entered is being made.
    """

    entered = Signal(object)  # Room: it is whole, in front, and was told so

    def __init__(self) -> None:
        super().__init__()
        self.entries = [entry for entry in ROOMS if importlib.util.find_spec(entry.module) is not None]
        self.current: Room | None = None
        self._made: dict[str, Room] = {}
        self._wanted = ""
        self._is_behind = False
        self._then: Callable[[Any], None] | None = None
        self._turns = Turns(self)
        self._maker = RoomMaker(self.entries, self)
        self._maker.begun.connect(self._begun)
        self._maker.made.connect(self._whole)
        self._foot: Filmstrip | None = None
        self._bars = QStackedWidget()
        self._bars.setObjectName("OptionBar")
        self._bars.setFixedHeight(40)
        self._bars.addWidget(QWidget())  # while a room is made its bar is empty
        self._stack = QStackedWidget()
        self._stack.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self._stack.addWidget(QWidget())
        self._unveiling = Unveiling(self._stack)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)
        self._column.addWidget(self._bars)
        self._column.addWidget(self._stack, 1)

    def set_foot(self, foot: Filmstrip) -> None:
        """What lies below every room that does not refuse it."""
        self._foot = foot
        self._column.addWidget(foot)

    def read_ahead(self) -> None:
        """Reads the rooms' code on a thread."""
        self._maker.read_ahead()

    def make_ahead(self, entry: RoomEntry, services: Services) -> None:
        """Makes the room of an entry while nobody does anything."""
        if entry.title not in self._made:
            self._maker.want(entry, services)

    def entry(self, title: str) -> RoomEntry | None:
        """The entry of this title, None where there is none."""
        return next((entry for entry in self.entries if entry.title == title), None)

    def named(self, title: str) -> Room | None:
        """A room that is whole."""
        return self._made.get(title)

    @property
    def wanted(self) -> str:
        """Title of the room that was entered last, also while it is being made; "" without one."""
        return self._wanted

    def enter(self, entry: RoomEntry, services: Services, then: Callable[[Any], None] | None = None) -> None:
        """Brings a room to the front: at once where it is whole, else its parts come turn after turn.

        `then` gets the room when it is in front and was told so; not where another was entered before that.
        """
        self._wanted, self._then, self._is_behind = entry.title, then, False
        self._stay()
        room = self._made.get(entry.title)
        if room is not None:
            self._show(room)
            return
        if self.current is not None:
            self.current.deactivated()
            self.current = None
        self._bars.setVisible(True)
        self._bars.setCurrentIndex(0)
        self._stack.setCurrentIndex(0)
        self._maker.want(entry, services, hurried=True)

    def step_back(self) -> None:
        """Another page comes in front of all rooms; the `wanted` one stays until it is entered again."""
        self._is_behind = True
        self._stay()
        if self.current is not None:
            self.current.deactivated()

    def leave(self) -> None:
        """No room is in front any more."""
        self._wanted, self._then = "", None
        self._stay()
        if self.current is not None:
            self.current.deactivated()
            self.current = None
        # Whoever opens the next project first sees an empty place, which is painted at once.
        self._bars.setCurrentIndex(0)
        self._stack.setCurrentIndex(0)

    def _stay(self) -> None:
        """Who was on the way in does not come."""
        self._turns.clear()
        self._unveiling.lift()

    def _begun(self, room: Room) -> None:
        """Its parts grow where they will be seen: to be moved there, each would be styled once more."""
        self._stack.addWidget(room.widget())

    def _whole(self, room: Room) -> None:
        self._made[room.title] = room
        bar = room.option_bar()
        if bar is not None:
            self._bars.addWidget(bar)
        if room.title == self._wanted and not self._is_behind:
            self._show(room)

    def _show(self, room: Room) -> None:
        """Bar, strip and sizes, the room, its pictures: each in its turn, together they take too long."""
        self._unveiling.cover()
        self._turns.add(partial(self._make_place, room), partial(self._bring_in, room))

    def _make_place(self, room: Room) -> None:
        if self.current is not None and self.current is not room:
            self.current.deactivated()
            self.current = None
        bar = room.option_bar()
        self._bars.setVisible(bar is not None)
        if bar is not None:
            self._bars.setCurrentWidget(bar)
        if self._stack.currentWidget() is not room.widget():
            # The room that goes is not fitted to the next one's strip, and that one comes in at its size.
            self._stack.setCurrentIndex(0)
        if self._foot is not None:
            self._foot.setVisible(getattr(room, "shows_filmstrip", True))
            self._foot.stand_under(room.title, folded=getattr(room, "folds_filmstrip", False))
        self._column.activate()

    def _bring_in(self, room: Room) -> None:
        self.current = room
        self._stack.setCurrentWidget(room.widget())
        self._unveiling.show(room.widget())
        room.activated()
        self.entered.emit(room)
        then, self._then = self._then, None
        if then is not None:
            then(room)

    def may_close(self) -> bool:
        """Asks every room; the first that refuses ends the question."""
        return all(getattr(room, "may_close", _always)() for room in self._made.values())

    def shut_down(self) -> None:
        """Tell every room that the window closes."""
        self._maker.stop()
        for room in self._made.values():
            closing = getattr(room, "shut_down", None)
            if closing is not None:
                closing()


def _always() -> bool:
    return True
