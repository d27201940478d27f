"""The path of a file of weights: typed, chosen from the disk, or what a run of this project left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QPoint
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QMenu, QWidget

from segstudio.ui.widgets.buttons import IconButton

Offer = tuple[str, str]
"""Words and path."""


class WeightsField(QWidget):
    """A line with a button, which opens a menu where there is more to choose from than files."""

    def __init__(self, name: str, *, placeholder: str = "none chosen") -> None:
        super().__init__()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        self.path = QLineEdit()
        self.path.setPlaceholderText(placeholder)
        self.path.setAccessibleName(name)
        self.browse = IconButton("project", "Choose weights", side=28)
        self.browse.clicked.connect(self._open)
        row.addWidget(self.path, 1)
        row.addWidget(self.browse)
        self.setFocusProxy(self.path)
        self._offers: tuple[Offer, ...] = ()
        self.menu = QMenu(self)

    def text(self) -> str:
        return self.path.text().strip()

    def setText(self, text: str) -> None:
        self.path.setText(text)

    def offer(self, offers: Sequence[Offer]) -> None:
        """What there is to choose from beside files."""
        self._offers = tuple(offers)

    def _open(self) -> None:
        if not self._offers:
            self._browse()
            return
        menu = self.menu
        menu.clear()
        for words, path in self._offers:
            menu.addAction(words.replace("&", "&&")).triggered.connect(
                lambda _checked=False, chosen=path: self.setText(chosen)
            )
        menu.addSeparator()
        menu.addAction("A file…").triggered.connect(self._browse)
        menu.popup(self.browse.mapToGlobal(QPoint(0, self.browse.height() + 2)))

    def _browse(self) -> None:
        place = Path(self.text()).parent if self.text() else Path.home()
        chosen, _ = QFileDialog.getOpenFileName(
            self, self.path.accessibleName(), str(place), "Weights (*.safetensors *.pth *.pt *.bin)"
        )
        if chosen:
            self.path.setText(chosen)
