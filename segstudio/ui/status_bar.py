"""The status bar: pixel, class, zoom and size on the left, hints in the middle, jobs and device right."""

from __future__ import annotations

from PySide6.QtCore import QRect, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetrics, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QWidget

from segstudio.ui import theme
from segstudio.ui.icons import paint_icon
from segstudio.ui.widgets.chip import paint_swatch
from segstudio.ui.widgets.labels import KeyCaps
from segstudio.ui.widgets.numbers import grouped

_ROUND_HINT = 16


class StatusBar(QFrame):
    """24 px; every read-out has its reserved place, so nothing moves with the pointer."""

    jobs_clicked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("StatusBar")
        self.setFixedHeight(24)
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 0, 12, 0)
        row.setSpacing(0)
        self._pixel = _ReadOut("88888, 88888")
        self._class = _ReadOut("Sign symbol", swatch=True)
        self._zoom = _ReadOut("6 400 %")
        self._size = _ReadOut("")
        self._hint = KeyCaps("")
        self._hint.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._jobs = _ReadOut("", icon="jobs")
        self._jobs.clicked.connect(self.jobs_clicked)
        self._device = _ReadOut("", icon="chip")
        self._separators: list[_Separator] = []
        left = [self._pixel, self._class, self._zoom, self._size]
        for number, part in enumerate(left):
            if number:
                self._add_separator(row)
            row.addWidget(part)
        row.addSpacing(_ROUND_HINT)
        row.addWidget(self._hint, 1)
        row.addSpacing(_ROUND_HINT)
        row.addWidget(self._jobs)
        self._add_separator(row)
        row.addWidget(self._device)
        self._separators[-1].hide()
        self.set_jobs(0, None)

    def set_pixel(self, pixel: tuple[int, int] | None) -> None:
        """Image pixel under the pointer, None outside."""
        self._pixel.set_text(f"{pixel[0]}, {pixel[1]}" if pixel else "")

    def set_class(self, entry: tuple[str, QColor | None] | None) -> None:
        """Name and colour of the class under the pointer; colour None draws the hatch."""
        self._class.set_text(entry[0] if entry else "", entry[1] if entry else None)

    def set_zoom(self, scale: float | None) -> None:
        """1.0 = 100 %."""
        if scale is None:
            self._zoom.set_text("")
            return
        percent = scale * 100
        words = f"{percent:.1f}" if percent < 10 else grouped(percent)
        self._zoom.set_text(f"{words} %")

    def set_size(self, text: str) -> None:
        """What the image is: size, depth, channels."""
        self._size.set_text(text)

    def set_ready(self, text: str) -> None:
        """One word at the left while no project is open; an empty one shows the read-outs again."""
        self._pixel.set_text(text)
        for part in (self._class, self._zoom, self._size, *self._separators[:3]):
            part.setVisible(not text)

    def set_hint(self, text: str) -> None:
        """The middle: what the tool does; [brackets] become key caps."""
        self._hint.set_text(text)

    def set_jobs(self, running: int, fraction: float | None) -> None:
        """How many jobs there are and how far they are together."""
        if not running:
            self._jobs.set_text("No jobs")
            self._jobs.set_icon("jobs", "t2")
            return
        words = f"{running} job" if running == 1 else f"{running} jobs"
        self._jobs.set_text(words if fraction is None else f"{words} · {fraction * 100:.0f} %")
        self._jobs.set_icon("jobs", "accent")

    def set_device(self, text: str, tip: str = "") -> None:
        """Where networks run, and its memory."""
        self._separators[-1].show()
        self._device.set_text(text)
        self._device.setToolTip(tip)
        self._device.set_icon("chip", "t2")

    def _add_separator(self, row: QHBoxLayout) -> None:
        separator = _Separator()
        self._separators.append(separator)
        row.addWidget(separator)


class _Separator(QWidget):
    def __init__(self) -> None:
        super().__init__()
        self.setFixedSize(33, 23)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(QRect(16, 6, 1, 12), theme.color("line2"))
        painter.end()


class _ReadOut(QWidget):
    clicked = Signal()

    def __init__(self, widest: str, *, swatch: bool = False, icon: str = "") -> None:
        super().__init__()
        self._swatch = swatch
        self._icon = icon
        self._icon_role = "t2"
        self._text = ""
        self._color: QColor | None = None
        self._reserved = QFontMetrics(theme.font(12)).horizontalAdvance(widest)
        self.setFixedHeight(23)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        theme.appearance().changed.connect(self.update)

    def set_text(self, text: str, color: QColor | None = None) -> None:
        if (text, color) == (self._text, self._color):
            return
        grows = QFontMetrics(theme.font(12)).horizontalAdvance(text) > self._reserved
        self._text, self._color = text, color
        self.setAccessibleName(text)
        if grows or not self._reserved or self._icon:
            self.updateGeometry()
        self.update()

    def set_icon(self, name: str, role: str) -> None:
        self._icon, self._icon_role = name, role
        self.update()

    def sizeHint(self) -> QSize:
        width = max(self._reserved, QFontMetrics(theme.font(12)).horizontalAdvance(self._text))
        extra = 20 if self._swatch else (18 if self._icon and self._text else 0)
        return QSize(width + extra + 1, 23)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.clicked.emit()

    def paintEvent(self, _event: QPaintEvent) -> None:
        if not self._text:
            return
        painter = QPainter(self)
        x = 0
        if self._swatch:
            paint_swatch(painter, QRect(0, 5, 14, 14), self._color)
            x = 20
        elif self._icon:
            paint_icon(painter, QRect(0, 5, 14, 14), self._icon, self._icon_role)
            x = 18
        painter.setFont(theme.font(12))
        painter.setPen(theme.color("t2"))
        painter.drawText(QRect(x, 0, self.width() - x, 23), int(Qt.AlignmentFlag.AlignVCenter), self._text)
        painter.end()
