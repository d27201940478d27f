"""The dataset check in words: what is fine, what is not, and a button where it can be put right."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Signal
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from segstudio.runtime.dataset_check import DatasetReport, Finding
from segstudio.ui.train.state_icon import paint_state
from segstudio.ui.widgets.buttons import push_button
from segstudio.ui.widgets.labels import ElidedLabel, label, rule

_ICONS = {"ok": ("check", "ok"), "warn": ("warning", "warn"), "err": ("error", "err")}
_FIXES = {"class_weights": "Use class weights", "keep_in_validation": "Keep in validation"}


class CheckPanel(QWidget):
    """One row a finding. `fix_wanted` carries the finding whose button was pressed."""

    fix_wanted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 4)
        self._column.setSpacing(0)
        self._rows: list[QWidget] = []
        self.show_waiting()

    def show_waiting(self) -> None:
        self._fill([label("Looking at the labels…", role="t2", size=12)])
        self._rows[0].setContentsMargins(12, 8, 8, 8)

    def show_report(self, report: DatasetReport) -> None:
        rows: list[QWidget] = []
        for index, finding in enumerate(report.findings):
            if index:
                rows.append(rule())
            rows.append(self._row(finding))
        self._fill(rows)

    def _row(self, finding: Finding) -> QWidget:
        made = QWidget()
        row = QHBoxLayout(made)
        row.setContentsMargins(8, 4, 8, 4)
        row.setSpacing(8)
        row.addWidget(_Mark(*_ICONS[finding.level]))
        words = QVBoxLayout() if finding.fix else QHBoxLayout()
        words.setSpacing(0 if finding.fix else 4)
        title = ElidedLabel(finding.title, size=12) if finding.fix else label(finding.title, size=12)
        words.addWidget(title)
        detail = finding.detail if finding.fix or not finding.detail else f"· {finding.detail}"
        if detail:
            words.addWidget(ElidedLabel(detail, role="t2", size=12), 1)
        row.addLayout(words, 1)
        if finding.fix:
            button = push_button(_FIXES[finding.fix], tall=24)
            button.clicked.connect(lambda: self.fix_wanted.emit(finding))
            row.addWidget(button)
        made.setMinimumHeight(40 if finding.fix else 26)
        return made

    def _fill(self, rows: list[QWidget]) -> None:
        for old in self._rows:
            self._column.removeWidget(old)
            old.hide()  # it is deleted only later, and would be drawn through the new rows until then
            old.deleteLater()
        self._rows = rows
        for row in rows:
            self._column.addWidget(row)


class _Mark(QWidget):
    def __init__(self, name: str, role: str) -> None:
        super().__init__()
        self._name, self._role = name, role
        self.setFixedWidth(16)
        self.setMinimumHeight(18)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Expanding)

    def paintEvent(self, _event: QPaintEvent) -> None:
        paint_state(QPainter(self), QRectF(self.rect()), self._name, self._role)
