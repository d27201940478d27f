"""Exporting labels: choose format, images and folder; what the format cannot hold is said before writing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from segstudio.core.errors import UserError
from segstudio.runtime.label_export import LabelExport, StagedLabels, formats, image_choices
from segstudio.ui import theme
from segstudio.ui.remembered import settings
from segstudio.ui.widgets.buttons import push_button
from segstudio.ui.widgets.card import NoticeCard
from segstudio.ui.widgets.labels import label
from segstudio.ui.widgets.numbers import counted, grouped
from segstudio.ui.widgets.progress import ProgressBar

if TYPE_CHECKING:
    from segstudio.ui.main_window import MainWindow

_WIDTH = 600
_FORMAT, _FOLDER = "window.export_format", "window.export_folder"
_NAMED = 4  # files that are replaced and named


class ExportDialog(QDialog):
    """Stays beside the window, which can be used meanwhile. Where nothing is lost, one press is enough."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        session, services, strip = window.session, window.services, window.filmstrip
        assert session is not None and services is not None and strip is not None, "no project is open"
        self._status = window.status
        self._work = LabelExport(session, services.jobs, self)
        self._formats = formats()
        self._choices = image_choices(session, strip.shown)
        self.setWindowTitle("Export labels – SegStudio")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setMinimumWidth(_WIDTH)
        self._pages = QStackedWidget()
        self._pages.addWidget(self._choice_page())
        self._losses = _LossPage()
        self._losses.back.clicked.connect(self._back)
        self._losses.write.clicked.connect(self._write)
        self._pages.addWidget(self._losses)
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 24, 24, 16)
        column.addWidget(self._pages)
        self._work.progressed.connect(self._bar.set_fraction)
        self._work.staged.connect(self._show_staged)
        self._work.failed.connect(self._show_failed)
        self._work.cancelled.connect(self._back)
        self._work.finished.connect(self._finished)
        self.finished.connect(self._work.close)
        session.closed.connect(self.reject)

    def _choice_page(self) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        column.addWidget(label("Export labels", size=17, strong=600))
        grid = QGridLayout()
        grid.setHorizontalSpacing(12)
        grid.setVerticalSpacing(8)
        grid.setColumnStretch(1, 1)
        self.format = QComboBox()
        self.format.addItems([entry.title for entry in self._formats])
        self._hint = label("", role="t2", size=12)
        self.images = QComboBox()
        self.images.addItems([f"{each.title} · {grouped(len(each.images))}" for each in self._choices])
        self.place = QLineEdit(str(settings().get(_FOLDER, "")))
        self.place.setPlaceholderText("A folder outside of the pictures")
        folder = push_button("Folder…")
        for row, (name, control) in enumerate(
            (("Format", self.format), ("", self._hint), ("Images", self.images), ("To", self.place))
        ):
            grid.addWidget(label(name, role="t2"), row, 0)
            grid.addWidget(control, row, 1, 1, 1 if control is self.place else 2)
        grid.addWidget(folder, 3, 2)
        column.addLayout(grid)
        self._bar = ProgressBar()
        self._bar.hide()
        column.addWidget(self._bar)
        self._problem = QVBoxLayout()
        column.addLayout(self._problem)
        column.addStretch(1)
        self.export_button = push_button("Export", kind="primary")
        cancel = push_button("Cancel")
        column.addLayout(_foot(cancel, self.export_button))
        self.format.currentIndexChanged.connect(self._show_hint)
        self.place.textChanged.connect(self._check)
        folder.clicked.connect(self._ask_folder)
        cancel.clicked.connect(self.reject)
        self.export_button.clicked.connect(self._stage)
        last = [entry.id for entry in self._formats].index
        self.format.setCurrentIndex(last(settings().get(_FORMAT, self._formats[0].id)))
        self._show_hint(self.format.currentIndex())
        self._check()
        return page

    def _show_hint(self, index: int) -> None:
        self._hint.setText(self._formats[index].hint)

    def _check(self) -> None:
        self.export_button.setEnabled(bool(self.place.text().strip()) and bool(self._choices))

    def _ask_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder for the labels", self.place.text())
        if chosen:
            self.place.setText(chosen)

    def _stage(self) -> None:
        entry = self._formats[self.format.currentIndex()]
        target = Path(self.place.text().strip()).expanduser().absolute()
        settings().set(_FORMAT, entry.id)
        settings().set(_FOLDER, str(target))
        while (item := self._problem.takeAt(0)) is not None:
            card = item.widget()
            if card is not None:
                card.deleteLater()
        self.export_button.setEnabled(False)
        self._bar.set_fraction(None)
        self._bar.show()
        self._work.stage(entry, target, self._choices[self.images.currentIndex()])

    def _show_staged(self, staged: StagedLabels) -> None:
        if staged.loses_nothing and staged.images:
            self._work.deliver()
            return
        self._losses.show_losses(staged, self._formats[self.format.currentIndex()].title)
        self._pages.setCurrentWidget(self._losses)

    def _write(self) -> None:
        self._losses.write.setEnabled(False)
        self._work.deliver()

    def _back(self) -> None:
        """Choose again; what was prepared is forgotten."""
        self._work.discard()
        self._bar.hide()
        self._check()
        self._pages.setCurrentIndex(0)

    def _show_failed(self, error: UserError) -> None:
        self._back()
        self._problem.addWidget(NoticeCard.of(error))

    def _finished(self, files: int) -> None:
        words = f"{counted(files, 'file')} written"
        folder = QUrl.fromLocalFile(str(settings().get(_FOLDER, "")))
        self._status.notice.emit(words, "Show folder", lambda: QDesktopServices.openUrl(folder))
        self.accept()


class _LossPage(QWidget):
    """What is ready, what of it the format cannot hold, and which files would be replaced."""

    def __init__(self) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        self._title = label("", size=17, strong=600)
        self._amount = label("", role="t2")
        self._replaced = label("", role="warn")
        self._replaced.setWordWrap(True)
        self._count = label("", role="warn", strong=500)
        self._notes = QPlainTextEdit()
        self._notes.setReadOnly(True)
        self._notes.setFont(theme.mono(11))
        self._notes.setFixedHeight(140)
        for part in (self._title, self._amount, self._replaced, self._count, self._notes):
            column.addWidget(part)
        column.addStretch(1)
        self.back = push_button("Back")
        self.write = push_button("Export all the same", kind="primary")
        column.addLayout(_foot(self.back, self.write))

    def show_losses(self, staged: StagedLabels, title: str) -> None:
        """Fill the page."""
        count = staged.images
        ready = f"Ready as {title}: {counted(count, 'image')}"
        self._title.setText(ready if count else "No image could be exported")
        size = grouped(max(1, round(staged.bytes / 1000)))
        self._amount.setText(f"{counted(staged.files, 'file')}, {size} kB. Nothing is written yet.")
        named, more = staged.replaced[:_NAMED], len(staged.replaced) - _NAMED
        rest = f" and {grouped(more)} more" if more > 0 else ""
        self._replaced.setText(f"Files there that would be replaced: {', '.join(named)}{rest}")
        self._replaced.setVisible(bool(named))
        self._count.setText(f"{counted(len(staged.notes), 'note')}: what the files do not keep")
        self._notes.setPlainText("\n".join(f"{file}: {what}" for file, what in staged.notes))
        for part in (self._count, self._notes):
            part.setVisible(bool(staged.notes))
        self.write.setVisible(bool(count))
        self.write.setEnabled(True)


def _foot(*buttons: QPushButton) -> QHBoxLayout:
    row = QHBoxLayout()
    row.addStretch(1)
    for button in buttons:
        row.addWidget(button)
    return row
