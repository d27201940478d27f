"""A row of choices in one frame, of which exactly one is taken."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QFontMetrics,
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
)
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from segstudio.ui import theme
from segstudio.ui.icons import paint_icon


@dataclass(slots=True)
class Segment:
    """One choice: words, an icon, or both. `role` colours the icon at rest."""

    text: str = ""
    icon: str = ""
    tip: str = ""
    role: str = "t2"


class SegmentedControl(QWidget):
    """Exclusive choices side by side; arrows move, a click chooses. Words are never shortened."""

    changed = Signal(int)

    def __init__(self, segments: list[Segment] | list[str], *, tall: int = 28, name: str = "") -> None:
        super().__init__()
        self._segments = [Segment(part) if isinstance(part, str) else part for part in segments]
        self._current = 0
        self._hovered = -1
        self._padding = 8 if tall == 24 else 10
        self.setFont(theme.font(12 if tall == 24 else 13))
        self.setFixedHeight(tall)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(name)
        theme.appearance().changed.connect(self.update)

    @property
    def current(self) -> int:
        """Index of the chosen segment."""
        return self._current

    def set_current(self, index: int) -> None:
        """Choose without asking anybody; emits `changed` where it is another one. Raises IndexError."""
        if not 0 <= index < len(self._segments):
            raise IndexError(f"segment {index} of {len(self._segments)}")
        if index != self._current:
            self._current = index
            self.update()
            self.changed.emit(index)

    def set_text(self, index: int, text: str) -> None:
        """Change the words of one segment (a count, for instance)."""
        if self._segments[index].text != text:
            self._segments[index].text = text
            self.updateGeometry()
            self.update()

    def rect_of(self, index: int) -> QRect:
        """Where a segment lies, in this widget's coordinates."""
        left = 1 + sum(self._width(part) + 1 for part in self._segments[:index])
        return QRect(left, 1, self._width(self._segments[index]), self.height() - 2)

    def sizeHint(self) -> QSize:
        return QSize(1 + sum(self._width(part) + 1 for part in self._segments), self.height())

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        frame = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        path = QPainterPath()
        path.addRoundedRect(frame, 4, 4)
        painter.fillPath(path, theme.color("base"))
        painter.setClipPath(path)
        for index in range(len(self._segments)):
            self._paint_segment(painter, index)
        painter.setClipping(False)
        painter.setPen(theme.color("line2"))
        painter.drawPath(path)
        painter.end()

    def _paint_segment(self, painter: QPainter, index: int) -> None:
        part, box, chosen = self._segments[index], self.rect_of(index), index == self._current
        if chosen:
            painter.fillRect(box, theme.color("selected"))
            painter.fillRect(QRect(box.left(), box.bottom() - 1, box.width(), 2), theme.color("accent"))
        elif index == self._hovered:
            painter.fillRect(box, theme.color("hover"))
        if index + 1 < len(self._segments):
            painter.fillRect(QRect(box.right() + 1, box.top(), 1, box.height()), theme.color("line"))
        x = box.left() + self._padding
        ink = "t1" if chosen or index == self._hovered else "t2"
        if part.icon:
            role = part.role if part.role != "t2" else ("accent" if chosen and not part.text else ink)
            paint_icon(painter, QRect(x, box.center().y() - 6, 14, 14), part.icon, role)
            x += 20
        painter.setPen(theme.color(ink if self.isEnabled() else "disabled"))
        painter.setFont(self.font())
        painter.drawText(QRect(x, box.top(), box.right() - x, box.height()), int(_LEFT), part.text)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            index = self._at(event.position())
            if index >= 0:
                self.set_current(index)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        index = self._at(event.position())
        if index != self._hovered:
            self._hovered = index
            self.update()

    def leaveEvent(self, event: QEvent) -> None:
        self._hovered = -1
        self.update()
        super().leaveEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()), 0)
        if step:
            self.set_current((self._current + step) % len(self._segments))
        else:
            super().keyPressEvent(event)

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            index = self._at(QPointF(event.pos()))
            tip = self._segments[index].tip if index >= 0 else ""
            QToolTip.showText(event.globalPos(), tip, self)
            return True
        return super().event(event)

    def _at(self, position: QPointF) -> int:
        for index in range(len(self._segments)):
            if self.rect_of(index).contains(position.toPoint()):
                return index
        return -1

    def _width(self, part: Segment) -> int:
        words = QFontMetrics(self.font()).horizontalAdvance(part.text)
        icon = (14 + (6 if part.text else 0)) if part.icon else 0
        return words + icon + 2 * self._padding


_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
