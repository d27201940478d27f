"""The strip of images at the foot of the window: status, filters, and one widget that paints them all.

The strip is shared by the rooms. A room may hand it another order (worst first) with `set_order`; D and A
then walk what is on screen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QPoint, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QAbstractScrollArea, QComboBox, QFrame, QHBoxLayout, QVBoxLayout, QWidget

from segstudio.ui import theme
from segstudio.ui.class_filter import ClassFilter
from segstudio.ui.icons import paint_icon
from segstudio.ui.remembered import settings
from segstudio.ui.widgets.buttons import IconButton
from segstudio.ui.widgets.labels import label
from segstudio.ui.widgets.segmented import Segment, SegmentedControl

if TYPE_CHECKING:
    from segstudio.core.records import ImageRecord, Status
    from segstudio.runtime.session import ProjectSession

THUMB_WIDTH, THUMB_HEIGHT = 108, 81
_PITCH = THUMB_WIDTH + 12
_MARGIN = 12
_ROW = 112
STATUS_ICONS = {
    "done": ("check", "chip_ok"),
    "draft": ("draft", "chip_warn"),
    "check": ("warning", "chip_warn"),
}
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
        self._folded = bool(settings().get("view.fold.filmstrip", False))
        self.strip = FilmstripView(session)
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
        row.addWidget(_Mark())
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
        session.thumbnail_ready.connect(self.strip.refresh)
        session.classes_changed.connect(self.strip.recolor)
        theme.appearance().changed.connect(self.strip.viewport().update)
        self._apply_fold()
        self._refill()

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
            record = self._session.record(ids[place])
            if record is not None and (not unlabelled or record.status == "none"):
                self._session.go(record.id)
                return
            place += by

    def toggle(self) -> None:
        """Fold the strip to its header or unfold it, and remember that."""
        self._folded = not self._folded
        settings().set("view.fold.filmstrip", self._folded)
        self._apply_fold()

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._sort_word.setVisible(self.width() > 1000)
        super().resizeEvent(event)

    def _apply_fold(self) -> None:
        self.strip.setVisible(not self._folded)
        self._fold.show_icon("chevron-up" if self._folded else "chevron-down")
        self._fold.setToolTip("Unfold the image strip" if self._folded else "Fold the image strip")
        self.setFixedHeight(33 if self._folded else 33 + _ROW)

    def _status_changed(self, image_id: int) -> None:
        self._show_counts()
        if self._filter.current:
            self._refill()
        else:
            self.strip.refresh(image_id)

    def _show_counts(self) -> None:
        records = self._session.images
        self._count.setText(f"{len(records):,}".replace(",", "\u202f") if records else "")
        for index, (text, _icon, _role, status) in enumerate(_FILTERS):
            if status:
                number = sum(record.status == status for record in records)
                self._filter.set_text(index, f"{text} {number}" if records else text)

    def _refill(self, *_: object) -> None:
        self._show_counts()
        ranked = self._order
        self._title.setText(ranked[0] if ranked else "Images")
        for part in (self._filter, self._sort, self._sort_word):
            part.setVisible(ranked is None)
        self.class_filter.setVisible(ranked is None and bool(self._session.classes))
        if ranked is not None:
            self.strip.show_images(ranked[1], ranked[2])
            return
        status: Status | str = _FILTERS[self._filter.current][3]
        records = [record for record in self._session.images if not status or record.status == status]
        if self._with_class is not None:
            records = [record for record in records if record.id in self._with_class]
        key = self._sort_key()
        if key is not None:
            records.sort(key=key)
        self.strip.show_images([record.id for record in records], {})

    def _class_chosen(self, index: int) -> None:
        if index < 0:
            self._with_class = None
            self._refill()
            return

        def take(found: frozenset[int]) -> None:
            if self.class_filter.index == index:
                self._with_class = found
                self._refill()

        self._session.images_with_class(index, take)

    def _sort_key(self) -> Callable[[ImageRecord], object] | None:
        order = _ORDERS[max(0, self._sort.currentIndex())]
        rank = {"check": 0, "draft": 1, "none": 2, "done": 3}
        if order == "Status":
            return lambda record: rank[record.status]
        if order == "Fewest labels first":
            return lambda record: {"none": 0, "draft": 1, "check": 2, "done": 3}[record.status]
        return None


class FilmstripView(QAbstractScrollArea):
    """All thumbnails in one widget; only those in view are asked for and painted."""

    chosen = Signal(int)

    def __init__(self, session: ProjectSession) -> None:
        super().__init__()
        self._session = session
        self._scores: dict[int, str] = {}
        self._colors: list[int] = []
        self._hovered = -1
        self.ids: list[int] = []
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFixedHeight(_ROW)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setProperty("focusInside", True)
        self.setAccessibleName("Images")
        self.viewport().setMouseTracking(True)
        self.viewport().setAutoFillBackground(False)
        self.horizontalScrollBar().valueChanged.connect(self._scrolled)

    def show_images(self, ids: list[int], scores: dict[int, str]) -> None:
        """Show these images from left to right."""
        self.ids, self._scores = ids, scores
        self._fit_range()
        self.follow_current()
        self._ask()
        self.viewport().update()

    def follow_current(self) -> None:
        """Bring the image in front into view where it is outside."""
        current = self._session.current
        if current is not None and current.id in self.ids:
            box = self.rect_of(self.ids.index(current.id))
            bar, width = self.horizontalScrollBar(), self.viewport().width()
            if box.left() < _MARGIN:
                bar.setValue(bar.value() + box.left() - _MARGIN - _PITCH)
            elif box.right() > width - _MARGIN:
                bar.setValue(bar.value() + box.right() - width + _MARGIN + _PITCH)
        self._ask()
        self.viewport().update()

    def refresh(self, image_id: int) -> None:
        """One image's picture or status changed."""
        if image_id in self.ids:
            box = self.rect_of(self.ids.index(image_id)).adjusted(-6, -6, 6, 26)
            if box.intersects(self.viewport().rect()):
                if self._session.label_thumbnail(image_id) is None:
                    self._ask()
                self.viewport().update(box)

    def recolor(self) -> None:
        """The classes' colours changed."""
        self._colors = [0] * 256
        for entry in self._session.classes:
            if entry.id < 255:
                red, green, blue = entry.color
                self._colors[entry.id] = 0x80000000 | red << 16 | green << 8 | blue
        self.viewport().update()

    def rect_of(self, place: int) -> QRect:
        """Where a picture lies in the viewport."""
        left = _MARGIN + place * _PITCH - self.horizontalScrollBar().value()
        return QRect(left, 5, THUMB_WIDTH, THUMB_HEIGHT)

    def sizeHint(self) -> QSize:
        return QSize(600, _ROW)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit_range()
        self._ask()

    def wheelEvent(self, event: QWheelEvent) -> None:
        delta = event.angleDelta()
        moved = delta.y() if abs(delta.y()) > abs(delta.x()) else delta.x()
        bar = self.horizontalScrollBar()
        bar.setValue(bar.value() - moved)
        event.accept()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        place = self._at(event.position().toPoint())
        if event.button() == Qt.MouseButton.LeftButton and place >= 0:
            self._session.go(self.ids[place])
            self.chosen.emit(self.ids[place])

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        place = self._at(event.position().toPoint())
        if place != self._hovered:
            self._hovered = place
            record = self._session.record(self.ids[place]) if place >= 0 else None
            tip = ""
            if record is not None:
                tip = f"{record.display_name}\n{record.problem}".strip()
            self.viewport().setToolTip(tip)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()), 0)
        current = self._session.current
        if step and current is not None and current.id in self.ids:
            place = self.ids.index(current.id) + step
            if 0 <= place < len(self.ids):
                self._session.go(self.ids[place])
            return
        event.ignore()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self.viewport())
        painter.fillRect(event.rect(), theme.color("win"))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        current = self._session.current
        for place in self._visible():
            record = self._session.record(self.ids[place])
            if record is not None:
                self._paint_one(
                    painter, self.rect_of(place), record, current is not None and record.id == current.id
                )
        painter.end()

    def _paint_one(self, painter: QPainter, box: QRect, record: ImageRecord, chosen: bool) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color("base"))
        painter.drawRoundedRect(QRectF(box), 2, 2)
        picture = self._session.thumbnail(record.id)
        if picture is not None:
            target = _filling(picture.size(), box)
            painter.save()
            painter.setClipRect(box)
            painter.drawImage(target, picture)
            labels = self._session.label_thumbnail(record.id)
            if labels is not None and self._colors:
                painter.drawImage(target, _colored(labels, self._colors))
            painter.restore()
        elif record.problem:
            paint_icon(painter, QRect(box.center() - QPoint(10, 10), QSize(22, 22)), "image", "t3")
        if chosen:
            painter.setPen(QPen(theme.color("accent"), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(box).adjusted(-3, -3, 3, 3), 3, 3)
        self._paint_badge(painter, box, record)
        painter.setFont(theme.font(11))
        painter.setPen(theme.color("t1" if chosen else "t2"))
        name = record.display_name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
        line = QRect(box.left() - 4, box.bottom() + 4, box.width() + 8, 16)
        shown = painter.fontMetrics().elidedText(name, Qt.TextElideMode.ElideMiddle, line.width())
        painter.drawText(line, int(Qt.AlignmentFlag.AlignCenter), shown)

    def _paint_badge(self, painter: QPainter, box: QRect, record: ImageRecord) -> None:
        icon, role = STATUS_ICONS.get(record.status, ("circle", "chip_text"))
        circle = QRect(box.right() - 21, box.top() + 4, 18, 18)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color("chip"))
        painter.drawEllipse(circle)
        paint_icon(painter, circle.adjusted(3, 3, -3, -3), icon, role)
        score = self._scores.get(record.id)
        if score:
            painter.setFont(theme.font(12, 600))
            width = painter.fontMetrics().horizontalAdvance(score) + 12
            chip = QRect(box.left() + 4, box.bottom() - 22, width, 19)
            painter.setBrush(theme.color("chip"))
            painter.drawRoundedRect(QRectF(chip), 4, 4)
            painter.setPen(theme.color("chip_text"))
            painter.drawText(chip, int(Qt.AlignmentFlag.AlignCenter), score)

    def _visible(self) -> range:
        left = self.horizontalScrollBar().value()
        first = max(0, (left - _MARGIN) // _PITCH)
        last = min(len(self.ids), (left + self.viewport().width()) // _PITCH + 1)
        return range(first, last)

    def _at(self, point: QPoint) -> int:
        for place in self._visible():
            if self.rect_of(place).adjusted(-4, -4, 4, 22).contains(point):
                return place
        return -1

    def _fit_range(self) -> None:
        total = 2 * _MARGIN + len(self.ids) * _PITCH - 12
        bar = self.horizontalScrollBar()
        bar.setRange(0, max(0, total - self.viewport().width()))
        bar.setSingleStep(_PITCH)
        bar.setPageStep(self.viewport().width())

    def _scrolled(self) -> None:
        self._ask()
        self.viewport().update()

    def _ask(self) -> None:
        visible = self._visible()
        ahead = range(visible.stop, min(len(self.ids), visible.stop + 6))
        before = range(max(0, visible.start - 6), visible.start)
        self._session.want_thumbnails([self.ids[place] for place in (*visible, *ahead, *before)])


def _filling(size: QSize, box: QRect) -> QRectF:
    """The rectangle in which a picture of `size` covers `box`, centred."""
    scale = max(box.width() / size.width(), box.height() / size.height())
    width, height = size.width() * scale, size.height() * scale
    center = QRectF(box).center()
    return QRectF(center.x() - width / 2, center.y() - height / 2, width, height)


def _colored(labels: QImage, colors: list[int]) -> QImage:
    labels.setColorTable(colors)
    return labels


class _Mark(QWidget):
    def __init__(self) -> None:
        super().__init__()
        self.setFixedSize(14, 14)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        paint_icon(painter, self.rect(), "images", "t2")
        painter.end()
