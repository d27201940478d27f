"""Exporting labels: choose format, images and folder; what the format cannot hold is said before writing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QComboBox, QDialog, QStackedWidget, QVBoxLayout, QWidget

from segstudio.core.errors import UserError
from segstudio.runtime.label_export import LabelExport, StagedLabels, formats, image_choices
from segstudio.ui.dialogs.label_form import LabelForm, foot, notes_box
from segstudio.ui.remembered import settings
from segstudio.ui.widgets.buttons import push_button
from segstudio.ui.widgets.labels import label
from segstudio.ui.widgets.numbers import counted, grouped

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
        self._choices = image_choices(session, strip.shown)
        self.setWindowTitle("Export labels – SegStudio")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setMinimumWidth(_WIDTH)
        self.form = LabelForm(
            "Export labels",
            formats(),
            place="To",
            placeholder="A folder outside of the pictures",
            verb="Export",
            files=False,
        )
        self.images = QComboBox()
        self.images.addItems([f"{each.title} · {grouped(len(each.images))}" for each in self._choices])
        self.form.add_row("Images", self.images)
        self.form.add_place()
        self.form.choose(str(settings().get(_FORMAT, "")))
        self.form.place.setText(str(settings().get(_FOLDER, "")))
        self.losses = LossPage()
        self._pages = QStackedWidget()
        self._pages.addWidget(self.form)
        self._pages.addWidget(self.losses)
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 24, 24, 16)
        column.addWidget(self._pages)
        self.form.changed.connect(self._check)
        self.form.cancel.clicked.connect(self.reject)
        self.form.act.clicked.connect(self._stage)
        self.losses.back.clicked.connect(self._back)
        self.losses.write.clicked.connect(self._write)
        self._work.progressed.connect(self.form.report)
        self._work.staged.connect(self._show_staged)
        self._work.failed.connect(self._show_failed)
        self._work.cancelled.connect(self._back)
        self._work.finished.connect(self._finished)
        self.finished.connect(self._work.close)
        session.closed.connect(self.reject)
        self._check()

    def _check(self) -> None:
        ready = self.form.path is not None and bool(self._choices) and not self.form.is_working
        self.form.act.setEnabled(ready)

    def _stage(self) -> None:
        entry, target = self.form.entry, self.form.path
        if target is None:
            return
        settings().set(_FORMAT, entry.id)
        settings().set(_FOLDER, str(target))
        self.form.begin()
        self._work.stage(entry, target, self._choices[self.images.currentIndex()])

    def _show_staged(self, staged: StagedLabels) -> None:
        if staged.loses_nothing and staged.images:
            self._work.deliver()
            return
        self.losses.show_losses(staged, self.form.entry.title)
        self._pages.setCurrentWidget(self.losses)

    def _write(self) -> None:
        self.losses.write.setEnabled(False)
        self._work.deliver()

    def _back(self) -> None:
        """Choose again; what was prepared is forgotten."""
        self._show_failed(None)

    def _show_failed(self, error: UserError | None) -> None:
        self._work.discard()
        self.form.end(error)
        self._pages.setCurrentWidget(self.form)

    def _finished(self, files: int) -> None:
        words = f"{counted(files, 'file')} written"
        folder = QUrl.fromLocalFile(str(self.form.path))
        self._status.notice.emit(words, "Show folder", lambda: QDesktopServices.openUrl(folder))
        self.accept()


class LossPage(QWidget):
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
        self._notes = notes_box(140)
        for part in (self._title, self._amount, self._replaced, self._count, self._notes):
            column.addWidget(part)
        column.addStretch(1)
        self.back = push_button("Back")
        self.write = push_button("Export all the same", kind="primary")
        column.addLayout(foot(self.back, self.write))

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
