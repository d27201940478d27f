"""What importing and exporting labels ask first: format and place; then a bar, or a card that tells why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from segstudio.core.errors import UserError
from segstudio.core.formats import Format
from segstudio.ui import theme
from segstudio.ui.widgets.buttons import push_button
from segstudio.ui.widgets.card import NoticeCard
from segstudio.ui.widgets.labels import label
from segstudio.ui.widgets.progress import ProgressBar


class LabelForm(QWidget):
    """`act` and `cancel` are its buttons; `changed` when the place is another. `add_row` adds a choice."""

    changed = Signal()

    def __init__(
        self, title: str, formats: Sequence[Format], *, place: str, placeholder: str, verb: str, files: bool
    ) -> None:
        """`place` is the word before the place; with `files` it may be a file as well as a folder."""
        super().__init__()
        self._formats = formats
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        column.addWidget(label(title, size=17, strong=600))
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(12)
        self._grid.setVerticalSpacing(8)
        self._grid.setColumnStretch(1, 1)
        self.format = QComboBox()
        self.format.addItems([entry.title for entry in formats])
        self._hint = label("", role="t2", size=12)
        self.add_row("Format", self.format)
        self.add_row("", self._hint)
        self.place = QLineEdit()
        self.place.setPlaceholderText(placeholder)
        self._place_word = label(place, role="t2")
        self._place_row = QHBoxLayout()
        self._place_row.setSpacing(12)
        self._place_row.addWidget(self.place, 1)
        folder = push_button("Folder…")
        folder.clicked.connect(self._ask_folder)
        self._place_row.addWidget(folder)
        if files:
            file = push_button("File…")
            file.clicked.connect(self._ask_file)
            self._place_row.addWidget(file)
        column.addLayout(self._grid)
        self._bar = ProgressBar()
        self._bar.hide()
        column.addWidget(self._bar)
        self._problem = QVBoxLayout()
        column.addLayout(self._problem)
        column.addStretch(1)
        self.cancel = push_button("Cancel")
        self.act = push_button(verb, kind="primary")
        column.addLayout(foot(self.cancel, self.act))
        self.format.currentIndexChanged.connect(self._show_hint)
        self.place.textChanged.connect(self.changed)
        self._show_hint(0)

    def add_row(self, word: str, control: QWidget) -> None:
        """One more thing to choose."""
        row = self._grid.rowCount()
        self._grid.addWidget(label(word, role="t2"), row, 0)
        self._grid.addWidget(control, row, 1)

    def add_place(self) -> None:
        """The place, as the last row."""
        row = self._grid.rowCount()
        self._grid.addWidget(self._place_word, row, 0)
        self._grid.addLayout(self._place_row, row, 1)

    @property
    def entry(self) -> Format:
        """The chosen format."""
        return self._formats[self.format.currentIndex()]

    @property
    def path(self) -> Path | None:
        """The chosen place, None without one."""
        text = self.place.text().strip()
        return Path(text).expanduser().absolute() if text else None

    @property
    def problems(self) -> int:
        """How many cards there are."""
        return self._problem.count()

    def choose(self, format_id: str) -> None:
        """Choose a format by its id; an unknown one leaves the choice."""
        for place, entry in enumerate(self._formats):
            if entry.id == format_id:
                self.format.setCurrentIndex(place)

    def begin(self) -> None:
        """Work begins: a bar, and nothing to change meanwhile."""
        while (item := self._problem.takeAt(0)) is not None:
            card = item.widget()
            if card is not None:
                card.deleteLater()
        self._set_working(True)

    def report(self, fraction: float) -> None:
        """How far the work is, 0-1."""
        self._bar.set_fraction(fraction)

    def end(self, error: UserError | None = None) -> None:
        """Work is over; with an error it did not succeed."""
        self._set_working(False)
        if error is not None:
            self._problem.addWidget(NoticeCard.of(error))

    def _set_working(self, working: bool) -> None:
        self._bar.set_fraction(None)
        self._bar.setVisible(working)
        for place in range(self._grid.count()):
            control = self._grid.itemAt(place).widget()
            if control is not None:
                control.setEnabled(not working)
        self.place.setReadOnly(working)
        self.act.setEnabled(not working)
        self.changed.emit()

    @property
    def is_working(self) -> bool:
        """Between `begin` and `end`."""
        return not self._bar.isHidden()

    def _show_hint(self, index: int) -> None:
        self._hint.setText(self._formats[index].hint)

    def _ask_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder with labels", self.place.text())
        if chosen:
            self.place.setText(chosen)

    def _ask_file(self) -> None:
        chosen, _kind = QFileDialog.getOpenFileName(self, "File with labels", self.place.text())
        if chosen:
            self.place.setText(chosen)


def foot(*buttons: QPushButton) -> QHBoxLayout:
    """Buttons at the right end of a page."""
    row = QHBoxLayout()
    row.addStretch(1)
    for button in buttons:
        row.addWidget(button)
    return row


def notes_box(height: int) -> QPlainTextEdit:
    """Lines to read and copy."""
    box = QPlainTextEdit()
    box.setReadOnly(True)
    box.setFont(theme.mono(11))
    box.setFixedHeight(height)
    return box
