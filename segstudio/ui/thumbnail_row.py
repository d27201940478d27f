"""The pictures of the image strip: one widget paints them all and asks only for those in view."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from PySide6.QtCore import QPoint, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QAbstractScrollArea, QFrame

from segstudio.ui import theme
from segstudio.ui.icons import paint_icon

if TYPE_CHECKING:
    from segstudio.core.records import ImageRecord
    from segstudio.runtime.session import ProjectSession

THUMB_WIDTH, THUMB_HEIGHT = 108, 81
ROW_HEIGHT = 112
_PITCH = THUMB_WIDTH + 12
_MARGIN = 12
_PICTURES_KEPT = 64  # of 35 kB; a strip of 4,000 pixels shows 34
STATUS_ICONS = {
    "done": ("check", "chip_ok"),
    "draft": ("draft", "chip_warn"),
    "check": ("warning", "chip_warn"),
}


class ThumbnailRow(QAbstractScrollArea):
    """All thumbnails in one widget; only those in view are asked for and painted."""

    chosen = Signal(int)

    def __init__(self, session: ProjectSession) -> None:
        super().__init__()
        self._session = session
        self._scores: dict[int, str] = {}
        self._colors: list[int] = []
        self._tint = 0  # counts the changes of the colours
        self._hovered = -1
        self._front = -1
        self._pictures: OrderedDict[int, tuple[tuple[object, ...], QPixmap]] = OrderedDict()
        self.ids: list[int] = []
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFixedHeight(ROW_HEIGHT)
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
        before, self._front = self._front, current.id if current is not None else -1
        for image_id in {before, self._front}:
            if image_id in self.ids:
                self.viewport().update(self._cell(self.ids.index(image_id)))

    def refresh(self, image_id: int) -> None:
        """One image's picture or status changed."""
        if image_id in self.ids:
            box = self._cell(self.ids.index(image_id))
            if box.intersects(self.viewport().rect()):
                if self._session.label_thumbnails.get(image_id) is None:
                    self._ask()
                self.viewport().update(box)

    def recolor(self) -> None:
        """The classes' colours changed."""
        self._colors = [0] * 256
        for entry in self._session.classes:
            if entry.id < 255:
                red, green, blue = entry.color
                self._colors[entry.id] = 0x80000000 | red << 16 | green << 8 | blue
        self._tint += 1
        self.viewport().update()

    def rect_of(self, place: int) -> QRect:
        """Where a picture lies in the viewport."""
        left = _MARGIN + place * _PITCH - self.horizontalScrollBar().value()
        return QRect(left, 5, THUMB_WIDTH, THUMB_HEIGHT)

    def _cell(self, place: int) -> QRect:
        """All that is painted for a picture: frame and name, too."""
        return self.rect_of(place).adjusted(-6, -6, 6, 26)

    def sizeHint(self) -> QSize:
        return QSize(600, ROW_HEIGHT)

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
            record = self._session.images.find(self.ids[place]) if place >= 0 else None
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
            record = self._session.images.find(self.ids[place])
            if record is not None and event.region().intersects(self._cell(place)):
                self._paint_one(
                    painter, self.rect_of(place), record, current is not None and record.id == current.id
                )
        painter.end()

    def _paint_one(self, painter: QPainter, box: QRect, record: ImageRecord, chosen: bool) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color("base"))
        painter.drawRoundedRect(QRectF(box), 2, 2)
        picture = self._picture_of(record, box.size())
        if picture is not None:
            painter.drawPixmap(box.topLeft(), picture)
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

    def _picture_of(self, record: ImageRecord, size: QSize) -> QPixmap | None:
        """The thumbnail under its labels in the size of its box: scaled once, not with every painting."""
        picture = self._session.thumbnails.get(record.id)
        if picture is None:
            return None
        labels = self._session.label_thumbnails.get(record.id) if self._colors else None
        ratio = self.devicePixelRatioF()
        drawn_from = (picture.cacheKey(), labels.cacheKey() if labels is not None else 0, ratio, self._tint)
        known, pixels = self._pictures.get(record.id, ((), QPixmap()))
        if known != drawn_from:
            pixels = QPixmap(size * ratio)
            pixels.setDevicePixelRatio(ratio)
            pixels.fill(Qt.GlobalColor.transparent)
            painter = QPainter(pixels)
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            target = _filling(picture.size(), QRect(QPoint(0, 0), size))
            painter.drawImage(target, picture)
            if labels is not None:
                colored = labels.copy()  # what is compared above is the labels, not their colours
                colored.setColorTable(self._colors)
                painter.drawImage(target, colored)
            painter.end()
            self._pictures[record.id] = (drawn_from, pixels)
        self._pictures.move_to_end(record.id)
        while len(self._pictures) > _PICTURES_KEPT:
            self._pictures.popitem(last=False)
        return pixels

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
