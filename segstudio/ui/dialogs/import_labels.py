"""Importing labels: choose format and place, see what was found and what is new, then write."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QPlainTextEdit,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from segstudio.core.errors import UserError
from segstudio.core.records import LabelClass
from segstudio.runtime.label_import import FoundLabels, LabelImport, formats
from segstudio.ui import theme
from segstudio.ui.widgets.buttons import push_button
from segstudio.ui.widgets.card import NoticeCard
from segstudio.ui.widgets.labels import label, rule
from segstudio.ui.widgets.mark import Swatch
from segstudio.ui.widgets.numbers import counted
from segstudio.ui.widgets.progress import ProgressBar

if TYPE_CHECKING:
    from segstudio.ui.main_window import MainWindow

_WIDTH = 600
_MOST_CLASSES = 12


class ImportDialog(QDialog):
    """Two steps: where from, and what was found. Nothing is written before the last button."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        session, services = window.session, window.services
        assert session is not None and services is not None, "an import needs an open project"
        self._window = window
        self._work = LabelImport(session, services.jobs, self)
        self._formats = formats()
        self.setWindowTitle("Import labels – SegStudio")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setMinimumWidth(_WIDTH)
        self._pages = QStackedWidget()
        self._pages.addWidget(self._choice_page())
        self._found_page = QWidget()
        self._pages.addWidget(self._found_page)
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 24, 24, 16)
        column.setSpacing(16)
        column.addWidget(self._pages)
        self._work.found.connect(self._show_found)
        self._work.failed.connect(self._show_failed)
        self._work.finished.connect(self._finished)
        self.finished.connect(lambda _code: self._work.close())

    def _choice_page(self) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        column.addWidget(label("Import labels", size=17, strong=600))
        grid = QGridLayout()
        grid.setHorizontalSpacing(12)
        grid.setVerticalSpacing(8)
        grid.setColumnStretch(1, 1)
        self.format = QComboBox()
        self.format.addItems([entry.title for entry in self._formats])
        self.format.currentIndexChanged.connect(self._show_hint)
        self.place = QLineEdit()
        self.place.setPlaceholderText("A file, a folder, or a zip or tar of one")
        self.place.textChanged.connect(self._check)
        folder, file = push_button("Folder…"), push_button("File…")
        folder.clicked.connect(self._ask_folder)
        file.clicked.connect(self._ask_file)
        grid.addWidget(label("Format", role="t2"), 0, 0)
        grid.addWidget(self.format, 0, 1, 1, 3)
        self._hint = label("", role="t2", size=12)
        grid.addWidget(self._hint, 1, 1, 1, 3)
        grid.addWidget(label("From", role="t2"), 2, 0)
        grid.addWidget(self.place, 2, 1)
        grid.addWidget(folder, 2, 2)
        grid.addWidget(file, 2, 3)
        column.addLayout(grid)
        self._bar = ProgressBar()
        self._bar.hide()
        column.addWidget(self._bar)
        self._problem = QVBoxLayout()
        column.addLayout(self._problem)
        column.addStretch(1)
        foot = QHBoxLayout()
        foot.addStretch(1)
        cancel = push_button("Cancel")
        cancel.clicked.connect(self.reject)
        self.read_button = push_button("Look into it", kind="primary")
        self.read_button.clicked.connect(self._read)
        foot.addWidget(cancel)
        foot.addWidget(self.read_button)
        column.addLayout(foot)
        self._show_hint(0)
        self._check()
        return page

    def _show_hint(self, index: int) -> None:
        self._hint.setText(self._formats[index].hint)

    def _check(self) -> None:
        self.read_button.setEnabled(bool(self.place.text()) and Path(self.place.text()).exists())

    def _ask_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder with labels", self.place.text())
        if chosen:
            self.place.setText(chosen)

    def _ask_file(self) -> None:
        chosen, _kind = QFileDialog.getOpenFileName(self, "File with labels", self.place.text())
        if chosen:
            self.place.setText(chosen)

    def _read(self) -> None:
        self.read_button.setEnabled(False)
        self._bar.set_fraction(None)
        self._bar.show()
        self._work.read(self._formats[self.format.currentIndex()], Path(self.place.text()))

    def _show_failed(self, error: UserError) -> None:
        self._bar.hide()
        card = NoticeCard.of(error)
        self._problem.addWidget(card)
        card.dismissed.connect(self._check)

    def _show_found(self, found: FoundLabels) -> None:
        column = QVBoxLayout(self._found_page)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        count = len(found.items)
        column.addWidget(label(f"Labels for {counted(count, 'image')}", size=17, strong=600))
        fresh = {entry.id for entry in found.added}
        known = len(found.classes) - len(fresh)
        text = f"{known} classes of the project, {len(fresh)} new. Numbers of known classes do not change."
        column.addWidget(label(text, role="t2"))
        for entry in [*found.added, *(each for each in found.classes if each.id not in fresh)][
            :_MOST_CLASSES
        ]:
            column.addLayout(_class_line(entry, is_new=entry.id in fresh))
        if len(found.classes) > _MOST_CLASSES:
            column.addWidget(label(f"and {len(found.classes) - _MOST_CLASSES} more", role="t2", size=12))
        if found.notes:
            column.addWidget(rule())
            words = f"{counted(len(found.notes), 'note')}: what is not kept"
            column.addWidget(label(words, role="warn", strong=500))
            box = QPlainTextEdit("\n".join(f"{file}: {what}" for file, what in found.notes))
            box.setReadOnly(True)
            box.setFont(theme.mono(11))
            box.setFixedHeight(120)
            column.addWidget(box)
        column.addStretch(1)
        foot = QHBoxLayout()
        foot.addStretch(1)
        cancel = push_button("Cancel")
        cancel.clicked.connect(self.reject)
        self.write_button = push_button("Import", kind="primary")
        self.write_button.setEnabled(count > 0)
        self.write_button.clicked.connect(self._write)
        foot.addWidget(cancel)
        foot.addWidget(self.write_button)
        column.addLayout(foot)
        self._pages.setCurrentWidget(self._found_page)

    def _write(self) -> None:
        self.write_button.setEnabled(False)
        self._work.write()

    def _finished(self, changed: int) -> None:
        self._window.status.notice.emit(f"New labels for {counted(changed, 'image')}", "", None)
        self.accept()


def _class_line(entry: LabelClass, *, is_new: bool) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setSpacing(8)
    row.addWidget(Swatch(QColor(*entry.color)))
    row.addWidget(label(entry.name))
    row.addStretch(1)
    row.addWidget(label("new" if is_new else "known", role="accent" if is_new else "t2", size=12))
    return row
