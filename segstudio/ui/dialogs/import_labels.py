"""Importing labels: choose format and place, see what was found and what is new, then write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QDialog, QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from segstudio.core.records import LabelClass
from segstudio.runtime.label_import import FoundLabels, LabelImport, formats
from segstudio.ui.dialogs.label_form import LabelForm, foot, notes_box
from segstudio.ui.widgets.buttons import push_button
from segstudio.ui.widgets.labels import label, rule
from segstudio.ui.widgets.mark import Swatch
from segstudio.ui.widgets.numbers import counted

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
        self.setWindowTitle("Import labels – SegStudio")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setMinimumWidth(_WIDTH)
        self.form = LabelForm(
            "Import labels",
            formats(),
            place="From",
            placeholder="A file, a folder, or a zip or tar of one",
            verb="Look into it",
            files=True,
        )
        self.form.add_place()
        self._found_page = QWidget()
        self._pages = QStackedWidget()
        self._pages.addWidget(self.form)
        self._pages.addWidget(self._found_page)
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 24, 24, 16)
        column.setSpacing(16)
        column.addWidget(self._pages)
        self.form.changed.connect(self._check)
        self.form.cancel.clicked.connect(self.reject)
        self.form.act.clicked.connect(self._read)
        self._work.progressed.connect(self.form.report)
        self._work.found.connect(self._show_found)
        self._work.failed.connect(self.form.end)
        self._work.cancelled.connect(self.form.end)
        self._work.finished.connect(self._finished)
        self.finished.connect(self._work.close)
        self._check()

    def _check(self) -> None:
        path = self.form.path
        self.form.act.setEnabled(path is not None and path.exists() and not self.form.is_working)

    def _read(self) -> None:
        path = self.form.path
        if path is not None:
            self.form.begin()
            self._work.read(self.form.entry, path)

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
            box = notes_box(120)
            box.setPlainText("\n".join(f"{file}: {what}" for file, what in found.notes))
            column.addWidget(box)
        column.addStretch(1)
        cancel = push_button("Cancel")
        cancel.clicked.connect(self.reject)
        self.write_button = push_button("Import", kind="primary")
        self.write_button.setEnabled(count > 0)
        self.write_button.clicked.connect(self._write)
        column.addLayout(foot(cancel, self.write_button))
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
