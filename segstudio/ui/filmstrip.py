"""The strip of images at the foot of the window: status, filters, order.

The strip is shared by the rooms. A room may hand it another order (worst first) with `set_order`; D and A
then walk what is on screen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QComboBox, QFrame, QHBoxLayout, QVBoxLayout, QWidget

from segstudio.ui import theme
from segstudio.ui.class_filter import ClassFilter
from segstudio.ui.remembered import settings
from segstudio.ui.thumbnail_row import ROW_HEIGHT, ThumbnailRow
from segstudio.ui.widgets.buttons import IconButton
from segstudio.ui.widgets.labels import label
from segstudio.ui.widgets.mark import IconMark
from segstudio.ui.widgets.numbers import grouped
from segstudio.ui.widgets.segmented import Segment, SegmentedControl

if TYPE_CHECKING:
    from segstudio.core.project import Project
    from segstudio.core.records import ImageRecord, Status
    from segstudio.runtime.session import ProjectSession

_FILTERS: tuple[tuple[str, str, str, str], ...] = (
    ("All", "", "t2", ""),
    ("Done", "check", "ok", "done"),
    ("Draft", "draft", "warn", "draft"),
    ("None", "circle", "t2", "none"),
    ("Check", "warning", "warn", "check"),
)
_ORDERS = ("File name", "Status", "Fewest labels first")


class Filmstrip(QFrame):
    """Header with filters over the strip. `chosen(image_id)` when a person clicks a picture."""

    chosen = Signal(int)

    def __init__(self, session: ProjectSession) -> None:
        super().__init__()
        self.setObjectName("Filmstrip")
        self._session = session
        self._order: tuple[str, list[int], dict[int, str]] | None = None
        self._room = ""
        self._folded = False
        self.strip = ThumbnailRow(session)
        self._count = label("", role="t2", size=12)
        self._title = label("Images", size=12, strong=600)
        self._filter = SegmentedControl(
            [Segment(text, icon, f"Show {text.lower()}", role) for text, icon, role, _ in _FILTERS],
            tall=24,
            name="Filter images by status",
        )
        self._sort = QComboBox()
        self._sort.setProperty("tall", "24")
        self._sort.addItems(list(_ORDERS))
        self._sort.setAccessibleName("Sort images")
        self._sort.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._fold = IconButton("chevron-down", "Fold the image strip")
        self.class_filter = ClassFilter(session)
        self._with_class: frozenset[int] | None = None
        self._extra = QHBoxLayout()
        self._sort_word = label("Sort", role="t2", size=12)
        head = QWidget()
        head.setFixedHeight(32)
        row = QHBoxLayout(head)
        row.setContentsMargins(8, 0, 8, 0)
        row.setSpacing(8)
        row.addWidget(IconMark("images"))
        for part in (self._title, self._count):
            row.addWidget(part)
        row.addSpacing(8)
        row.addWidget(self._filter)
        row.addWidget(self.class_filter)
        row.addLayout(self._extra)
        row.addStretch(1)
        for part in (self._sort_word, self._sort, self._fold):
            row.addWidget(part)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 1, 0, 0)
        column.setSpacing(0)
        column.addWidget(head)
        column.addWidget(self.strip)
        self._filter.changed.connect(self._refill)
        self.class_filter.changed.connect(self._class_chosen)
        self._sort.currentIndexChanged.connect(self._refill)
        self._fold.clicked.connect(self.toggle)
        self.strip.chosen.connect(self.chosen)
        session.images_changed.connect(self._refill)
        session.status_changed.connect(self._status_changed)
        session.current_changed.connect(self.strip.follow_current)
        session.current_changed.connect(self._show_counts)
        session.thumbnail_ready.connect(self.strip.refresh)
        session.classes_changed.connect(self.strip.recolor)
        theme.appearance().changed.connect(self.strip.viewport().update)
        self._apply_fold()

    def add_control(self, control: QWidget) -> None:
        """Put a room's own control after the filters."""
        self._extra.addWidget(control)

    def set_order(
        self, title: str, image_ids: Sequence[int] | None, scores: dict[int, str] | None = None
    ) -> None:
        """Show these images in this order under another title, with a word on each; None: all of them."""
        self._order = None if image_ids is None else (title, list(image_ids), scores or {})
        self._refill()

    @property
    def shown(self) -> list[int]:
        """Ids of the images in the strip, in the order on screen."""
        return self.strip.ids

    def step(self, by: int, *, unlabelled: bool = False) -> None:
        """Walk what is on screen: +1 to the right, -1 to the left."""
        ids = self.strip.ids
        current = self._session.current
        if not ids:
            return
        place = ids.index(current.id) if current is not None and current.id in ids else (-1 if by > 0 else 0)
        place += by
        while 0 <= place < len(ids):
            record = self._session.images.find(ids[place])
            if record is not None and (not unlabelled or record.status == "none"):
                self._session.go(record.id)
                return
            place += by

    def stand_under(self, room: str, *, folded: bool) -> None:
        """Be folded as a person left it in this room, or else as the room asks for."""
        self._room = room
        self._folded = bool(settings().get(self._remembered_as(), folded))
        self._apply_fold()

    def toggle(self) -> None:
        """Fold the strip to its header or unfold it, and remember that for this room."""
        self._folded = not self._folded
        settings().set(self._remembered_as(), self._folded)
        self._apply_fold()

    def _remembered_as(self) -> str:
        return f"view.fold.filmstrip.{self._room}"

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._sort_word.setVisible(self.width() > 1000)
        super().resizeEvent(event)

    def _apply_fold(self) -> None:
        self.strip.setVisible(not self._folded)
        self._fold.show_icon("chevron-up" if self._folded else "chevron-down")
        self._fold.setToolTip("Unfold the image strip" if self._folded else "Fold the image strip")
        self.setFixedHeight(33 if self._folded else 33 + ROW_HEIGHT)
        self._refill()

    def _status_changed(self, image_id: int) -> None:
        self._show_counts()
        if self._filter.current:
            self._refill()
        else:
            self.strip.refresh(image_id)

    def _show_counts(self, *_: object) -> None:
        records = self._session.images
        shown = len(records) if self._order is None else len(self.strip.ids)
        self._count.setText(self._place() if self._folded else grouped(shown) if records else "")
        for index, (text, _icon, _role, status) in enumerate(_FILTERS):
            if status:
                number = sum(record.status == status for record in records)
                self._filter.set_text(index, f"{text} {number}" if records else text)

    def _place(self) -> str:
        """Where the person is, for the folded strip: "33 of 468 · name"."""
        current, ids = self._session.current, self.strip.ids
        if current is None:
            return ""
        place = f"{grouped(ids.index(current.id) + 1)} of {grouped(len(ids))} · " if current.id in ids else ""
        return place + current.display_name.rpartition("/")[2]

    def _refill(self, *_: object) -> None:
        ranked = self._order
        self._title.setText(ranked[0] if ranked else "Images")
        for part in (self._filter, self._sort, self._sort_word):
            part.setVisible(ranked is None)
        self.class_filter.setVisible(ranked is None and bool(self._session.classes))
        if ranked is not None:
            self.strip.show_images(ranked[1], ranked[2])
            self._show_counts()
            return
        status: Status | str = _FILTERS[self._filter.current][3]
        records = [record for record in self._session.images if not status or record.status == status]
        if self._with_class is not None:
            records = [record for record in records if record.id in self._with_class]
        key = self._sort_key()
        if key is not None:
            records.sort(key=key)
        self.strip.show_images([record.id for record in records], {})
        self._show_counts()

    def _class_chosen(self, index: int) -> None:
        if index < 0:
            self._with_class = None
            self._refill()
            return

        def take(found: frozenset[int]) -> None:
            if self.class_filter.index == index:
                self._with_class = found
                self._refill()

        labelled = [record.id for record in self._session.images if record.status != "none"]

        def look(project: Project) -> frozenset[int]:
            return frozenset(number for number in labelled if project.class_pixels(number).get(index))

        self._session.read(look, take)

    def _sort_key(self) -> Callable[[ImageRecord], object] | None:
        order = _ORDERS[max(0, self._sort.currentIndex())]
        rank = {"check": 0, "draft": 1, "none": 2, "done": 3}
        if order == "Status":
            return lambda record: rank[record.status]
        if order == "Fewest labels first":
            return lambda record: {"none": 0, "draft": 1, "check": 2, "done": 3}[record.status]
        return None
