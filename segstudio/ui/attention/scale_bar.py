"""How values become colours: scale, clip, colour bar with the value under the cursor, map, interpolation."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import QRect, Qt, Signal
from PySide6.QtGui import QColor, QLinearGradient, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QCheckBox, QComboBox, QFrame, QHBoxLayout, QMenu, QSizePolicy, QWidget

from segstudio.ui import theme
from segstudio.ui.attention.bars import figure
from segstudio.ui.attention.figures import Look
from segstudio.ui.canvas.color_maps import COLOR_MAPS
from segstudio.ui.canvas.heat_layer import HeatLayer, HeatScale, ScaleKind
from segstudio.ui.widgets.buttons import IconButton
from segstudio.ui.widgets.labels import label
from segstudio.ui.widgets.number_field import DecimalField
from segstudio.ui.widgets.segmented import SegmentedControl

KINDS: tuple[tuple[ScaleKind, str], ...] = (("linear", "Linear"), ("log", "Log"), ("clip", "Clip"))
CHOICES = ("Ember", "Grey", "Sea")
_ROOMY = 820
_NARROW = 740


class ColorBar(QWidget):
    """The scale from its lowest to its highest value, with a mark at one value."""

    def __init__(self) -> None:
        super().__init__()
        self._map = "Ember"
        self._mark: float | None = None
        self.setFixedSize(130, 20)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    @property
    def mark(self) -> float | None:
        """Where the mark is, 0-1; None for no mark."""
        return self._mark

    def show_map(self, name: str) -> None:
        self._map = name
        self.update()

    def set_mark(self, position: float | None) -> None:
        if position != self._mark:
            self._mark = position
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        bar = QRect(0, 5, self.width(), 10)
        painter.fillRect(bar, QColor(0, 0, 0))
        inside = bar.adjusted(1, 1, -1, -1)
        gradient = QLinearGradient(inside.topLeft(), inside.topRight())
        stops = COLOR_MAPS[self._map]
        for place, stop in enumerate(stops):
            gradient.setColorAt(place / (len(stops) - 1), QColor(f"#{stop}"))
        painter.fillRect(inside, gradient)
        if self._map == "Diverging":
            painter.fillRect(QRect(inside.center().x(), 2, 1, 16), theme.color("t2"))
        if self._mark is not None:
            x = inside.x() + round(self._mark * (inside.width() - 2))
            painter.fillRect(QRect(x - 1, 1, 4, 18), QColor(0, 0, 0))
            painter.fillRect(QRect(x, 1, 2, 18), theme.color("t1"))
        painter.end()


class ScaleBar(QFrame):
    """`changed(Look)` when a person chose something."""

    changed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("OptionBar")
        self.setFixedHeight(40)
        self._look = Look()
        self.kinds = SegmentedControl([title for _, title in KINDS], tall=24, name="Scale")
        self.kinds.set_current(2)
        self._at = label("at", role="t2", size=12)
        self.clip = DecimalField(50.0, 100.0, suffix=" %", tall=24)
        self.clip.setSingleStep(0.2)
        self.clip.setValue(99.4)
        self.clip.setAccessibleName("Percentile at the top of the scale")
        self.clip.setToolTip("Values above this percentile have the last colour")
        self.bar = ColorBar()
        self._low = label("0", role="t2", size=12)
        self._high = label("", role="t2", size=12)
        self._low.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._low.setFixedWidth(16)
        self._high.setFixedWidth(56)
        self.maps = QComboBox()
        self.maps.setProperty("tall", "24")
        self.maps.addItems(list(CHOICES))
        self.maps.setAccessibleName("Colours")
        self.grey = QCheckBox("Grey image")
        self.grey.setChecked(True)
        self.interpolate = QCheckBox("Interpolate")
        self.interpolate.setToolTip("Smooth between cells. What the network computed is one value a cell.")
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 0, 12, 0)
        row.setSpacing(8)
        self._word = label("Scale", role="t2", size=12)
        row.addWidget(self._word)
        for widget in (self.kinds, self._at, self.clip, self._low, self.bar, self._high):
            row.addWidget(widget)
        row.addStretch(1)
        self.more = IconButton("more", "Colours, grey image, interpolation")
        self.more.clicked.connect(self._open_more)
        self.more.hide()
        for widget in (self.maps, self.grey, self.interpolate, self.more):
            row.addWidget(widget)
        self.kinds.changed.connect(self._choose)
        self.clip.valueChanged.connect(self._choose)
        self.maps.currentIndexChanged.connect(self._choose)
        self.grey.toggled.connect(self._choose)
        self.interpolate.toggled.connect(self._choose)

    @property
    def look(self) -> Look:
        return self._look

    def _choose(self) -> None:
        kind = KINDS[self.kinds.current][0]
        self._at.setVisible(kind == "clip")
        self.clip.setVisible(kind == "clip")
        self._look = replace(
            self._look,
            scale=HeatScale(kind, self.clip.value()),
            color_map=self.maps.currentText(),
            grey=self.grey.isChecked(),
            interpolate=self.interpolate.isChecked(),
        )
        self.changed.emit(self._look)

    def show_bar(self, visible: bool) -> None:
        """The colours and the values at their ends; bars have none."""
        for part in (self.bar, self._low, self._high):
            part.setVisible(visible)

    def show_range(self, layer: HeatLayer, *, shares: bool) -> None:
        """The values at both ends; `shares` writes them as per cent of the query's attention."""
        self.bar.show_map(layer.color_map)
        self._low.setText(figure(-layer.top, shares=False) if layer.signed else "0")
        self._low.setFixedWidth(52 if layer.signed else 16)
        self._high.setText(figure(layer.top, shares=shares and not layer.signed))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """A narrow column shortens the colour bar; a narrower one puts what is rarely changed into a menu."""
        super().resizeEvent(event)
        self.bar.setFixedWidth(130 if self.width() >= _ROOMY else 72)
        narrow = self.width() < _NARROW
        for widget in (self._word, self.maps, self.grey, self.interpolate):
            widget.setVisible(not narrow)
        self.more.setVisible(narrow)

    def _open_more(self) -> None:
        menu = QMenu(self)
        for place, name in enumerate(CHOICES):
            action = menu.addAction(name)
            action.setCheckable(True)
            action.setChecked(place == self.maps.currentIndex())
            action.triggered.connect(lambda _=False, place=place: self.maps.setCurrentIndex(place))
        menu.addSeparator()
        for box in (self.grey, self.interpolate):
            action = menu.addAction(box.text())
            action.setCheckable(True)
            action.setChecked(box.isChecked())
            action.triggered.connect(box.setChecked)
        menu.popup(self.more.mapToGlobal(self.more.rect().topLeft()))

    def set_mark(self, layer: HeatLayer, value: float | None) -> None:
        """Marks the value under the cursor."""
        position = None if value is None else layer.scale.position(value, layer.top, signed=layer.signed)
        self.bar.set_mark(position)
