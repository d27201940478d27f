"""The log of a run: its last lines, filtered, following the end unless somebody scrolled up."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtGui import QColor, QResizeEvent, QTextCharFormat
from PySide6.QtWidgets import QPlainTextEdit

from segstudio.ui import theme

_TAIL_BYTES = 200_000


class LogView(QPlainTextEdit):
    """Read-only; `show_file` may be called as often as the file grows."""

    def __init__(self) -> None:
        super().__init__()
        self.setReadOnly(True)
        self.setAccessibleName("Log of the run")
        self.setFont(theme.mono(11))
        self.setFrameShape(QPlainTextEdit.Shape.NoFrame)
        self.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self._path: Path | None = None
        self._stamp = (-1, -1)
        self._filter = ""
        self._lines: list[str] = []
        theme.appearance().changed.connect(self._fill)

    def show_file(self, path: Path) -> None:
        """Reads `path` again where it changed."""
        try:
            status = path.stat()
        except OSError:
            self._path, self._stamp, self._lines = path, (-1, -1), []
            self._fill()
            return
        stamp = (status.st_size, status.st_mtime_ns)
        if path == self._path and stamp == self._stamp:
            return
        self._path, self._stamp = path, stamp
        with path.open("rb") as file:
            file.seek(max(0, status.st_size - _TAIL_BYTES))
            self._lines = file.read().decode("utf-8", "replace").splitlines()
        self._fill()

    def show_rows(self, count: int) -> None:
        """As high as `count` whole lines."""
        line = self.fontMetrics().lineSpacing()
        self.setFixedHeight(round(count * line + 3 * self.document().documentMargin()) + 2)

    def resizeEvent(self, event: QResizeEvent) -> None:
        bar = self.verticalScrollBar()
        at_end = bar.value() >= bar.maximum() - 1
        super().resizeEvent(event)
        if at_end:
            bar.setValue(bar.maximum())

    def set_filter(self, text: str) -> None:
        self._filter = text.casefold()
        self._fill()

    def _fill(self) -> None:
        bar = self.verticalScrollBar()
        at_end = bar.value() >= bar.maximum() - 4
        self.clear()
        cursor = self.textCursor()
        quiet, plain, bad = QTextCharFormat(), QTextCharFormat(), QTextCharFormat()
        quiet.setForeground(QColor(theme.color("t3")))
        plain.setForeground(QColor(theme.color("t1")))
        bad.setForeground(QColor(theme.color("err")))
        first = True
        for line in self._lines:
            if self._filter and self._filter not in line.casefold():
                continue
            if not first:
                cursor.insertText("\n", plain)
            first = False
            # "2026-01-31 08:04:11 info    words": the date is the same for hours, the time is enough.
            cursor.insertText(line[11:19] + "  ", quiet)
            level = line[20:28].strip()
            cursor.insertText(f"{level:<7}", bad if level == "error" else quiet)
            cursor.insertText(line[28:], bad if level == "error" else plain)
        if at_end:
            bar.setValue(bar.maximum())
