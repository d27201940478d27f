"""A dock section: 32 px header with fold arrow, name, count and actions over a body that folds away."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QMouseEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from segstudio.ui.remembered import settings
from segstudio.ui.widgets.buttons import IconButton
from segstudio.ui.widgets.labels import label


class FoldSection(QWidget):
    """`set_body(widget)` below the header; `key` remembers the fold between starts."""

    folded_changed = Signal(bool)

    def __init__(self, name: str, *, key: str = "", folded: bool = False) -> None:
        super().__init__()
        self._key = f"view.fold.{key}" if key else ""
        self._body: QWidget | None = None
        self._stretch = False
        self._arrow = IconButton("chevron-down", f"Fold {name}")
        self._count = label("", role="t2", size=12)
        self._header = _Header(self.toggle)
        row = QHBoxLayout(self._header)
        row.setContentsMargins(4, 0, 8, 0)
        row.setSpacing(4)
        row.addWidget(self._arrow)
        row.addWidget(label(name, size=12, strong=600))
        row.addSpacing(2)
        row.addWidget(self._count)
        row.addStretch(1)
        self._row = row
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)
        self._column.addWidget(self._header)
        self._arrow.clicked.connect(self.toggle)
        self._name = name
        self._folded = folded
        if self._key:
            self._folded = settings().get(self._key, folded)

    @property
    def folded(self) -> bool:
        return self._folded

    def set_body(self, body: QWidget, *, stretch: bool = False) -> None:
        """The widget below the header; with `stretch` the section takes spare height while unfolded."""
        self._body = body
        self._stretch = stretch
        self._column.addWidget(body, 1 if stretch else 0)
        self._apply()

    def set_count(self, text: str) -> None:
        """The quiet word after the name."""
        self._count.setText(text)

    def add_action(self, button: QWidget) -> None:
        """Put a 24 px control at the right end of the header."""
        self._row.addWidget(button)

    def toggle(self) -> None:
        """Fold or unfold and remember it."""
        self.set_folded(not self._folded)

    def fold_by_default(self, folded: bool) -> None:
        """Fold as the room there is suggests, unless a person folded or unfolded it once."""
        if not self._key or settings().get(self._key) is None:
            self.set_folded(folded, remember=False)

    def set_folded(self, folded: bool, *, remember: bool = True) -> None:
        """Fold (True) or unfold (False)."""
        if folded == self._folded:
            return
        self._folded = folded
        if self._key and remember:
            settings().set(self._key, folded)
        self._apply()
        self.folded_changed.emit(folded)

    def _apply(self) -> None:
        self._arrow.show_icon("chevron-right" if self._folded else "chevron-down")
        self._arrow.setToolTip(f"Unfold {self._name}" if self._folded else f"Fold {self._name}")
        if self._body is not None:
            self._body.setVisible(not self._folded)
        grows = self._stretch and not self._folded
        vertical = QSizePolicy.Policy.Expanding if grows else QSizePolicy.Policy.Fixed
        self.setSizePolicy(QSizePolicy.Policy.Preferred, vertical)


class _Header(QFrame):
    """The header strip; a double click anywhere on it folds, too."""

    def __init__(self, toggle: object) -> None:
        super().__init__()
        self.setObjectName("DockHeader")
        self.setFixedHeight(32)
        self._toggle = toggle

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and callable(self._toggle):
            self._toggle()
