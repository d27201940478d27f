"""The job drawer: every job with its bar, rate and time left, Cancel at once, a hard stop after 5 s."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from segstudio.ui import theme
from segstudio.ui.icons import pixmap
from segstudio.ui.widgets.buttons import IconButton, push_button
from segstudio.ui.widgets.empty_state import EmptyState
from segstudio.ui.widgets.labels import ElidedLabel, label, rule, set_role
from segstudio.ui.widgets.progress import ProgressBar

if TYPE_CHECKING:
    from segstudio.core.errors import UserError
    from segstudio.runtime.jobs import Job, JobQueue

WIDTH = 304
_END_ICONS = {"done": ("check", "ok"), "failed": ("warning", "err"), "cancelled": ("close", "t3")}


class JobDrawer(QFrame):
    """`closed` when its cross is clicked; `error_wanted(UserError)` when a failed job is to be shown."""

    closed = Signal()
    error_wanted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("Dock")
        self.setFixedWidth(WIDTH)
        self._queue: JobQueue | None = None
        self._rows: dict[Job, _JobRow | _EndedRow] = {}
        head = QFrame()
        head.setObjectName("DockHeader")
        head.setFixedHeight(32)
        row = QHBoxLayout(head)
        row.setContentsMargins(12, 0, 4, 0)
        row.addWidget(label("Jobs", size=12, strong=600))
        row.addStretch(1)
        self._count = label("", role="t2", size=12)
        row.addWidget(self._count)
        close = IconButton("close", "Close the job drawer")
        close.clicked.connect(self.closed)
        row.addWidget(close)
        self._body = QWidget()
        self._body.setObjectName("Plain")
        self._column = QVBoxLayout(self._body)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)
        self._ended_head = _EndedHead()
        self._ended_head.clear.clicked.connect(self._clear)
        self._column.addWidget(self._ended_head)
        self._column.addStretch(1)
        self._empty = EmptyState(
            "jobs", "No jobs", "Predictions, imports and training runs will appear here."
        )
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(self._body)
        self._area = area
        column = QVBoxLayout(self)
        column.setContentsMargins(1, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(head)
        column.addWidget(area, 1)
        column.addWidget(self._empty, 1)
        self._refresh()

    def set_queue(self, queue: JobQueue) -> None:
        """Show the jobs of this queue from now on."""
        self._queue = queue
        queue.changed.connect(self._jobs_changed)
        self._refresh()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._refresh()

    def _jobs_changed(self) -> None:
        if self.isVisible():  # else it catches up when somebody opens it
            self._refresh()

    def _clear(self) -> None:
        if self._queue is not None:
            self._queue.clear_ended()

    def _refresh(self) -> None:
        jobs = self._queue.jobs if self._queue is not None else ()
        for job in [job for job in self._rows if job not in jobs]:
            self._rows.pop(job).deleteLater()
        for job in jobs:
            row = self._rows.get(job)
            if job.is_over and not isinstance(row, _EndedRow):
                if row is not None:
                    row.deleteLater()
                ended = _EndedRow(job)
                ended.wanted.connect(self.error_wanted)
                self._rows[job] = ended
                place = self._column.indexOf(self._ended_head) + 1
                self._column.insertWidget(place, ended)
            elif row is None:
                self._rows[job] = live = _JobRow(job)
                self._column.insertWidget(self._column.indexOf(self._ended_head), live)
        running = sum(not job.is_over for job in jobs)
        self._count.setText(f"{running} running" if running else "")
        self._ended_head.setVisible(any(job.is_over for job in jobs))
        self._area.setVisible(bool(jobs))
        self._empty.setVisible(not jobs)


class _EndedHead(QFrame):
    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("DockHeader")
        self.setFixedHeight(32)
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 0, 8, 0)
        row.addWidget(label("Finished", size=12, strong=600))
        row.addStretch(1)
        self.clear = push_button("Clear", kind="quiet", tall=24)
        row.addWidget(self.clear)


class _EndedRow(QWidget):
    wanted = Signal(object)

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.setFixedHeight(32)
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 0, 12, 0)
        row.setSpacing(8)
        icon, role = _END_ICONS[job.state]
        mark = label("")
        mark.setPixmap(pixmap(icon, 14, role, self.devicePixelRatioF()))
        row.addWidget(mark)
        row.addWidget(ElidedLabel(job.title, size=12), 1)
        error: UserError | None = job.error
        if error is not None:
            show = push_button("Show", kind="link", tall=24)
            show.clicked.connect(lambda: self.wanted.emit(error))
            self.setToolTip(str(error))
            row.addWidget(show)
        else:
            seconds = job.seconds
            words = f"{seconds:.1f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
            row.addWidget(label("cancelled" if job.state == "cancelled" else words, role="t2", size=12))


class _JobRow(QWidget):
    """A job that is not over; what it says changes in place."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 12, 12, 12)
        column.setSpacing(4)
        top = QHBoxLayout()
        self._title = ElidedLabel(job.title, strong=500)
        top.addWidget(self._title, 1)
        self._cancel = push_button("Cancel", tall=24)
        self._cancel.setFixedWidth(88)
        self._cancel.clicked.connect(job.cancel)
        top.addWidget(self._cancel)
        column.addLayout(top)
        self._text = ElidedLabel("", role="t2", size=12)
        column.addWidget(self._text)
        self._bar = ProgressBar()
        column.addWidget(self._bar)
        foot = QHBoxLayout()
        self._rate = label("", role="t2", size=12)
        self._left = label("", role="t2", size=12)
        foot.addWidget(self._rate)
        foot.addStretch(1)
        foot.addWidget(self._left)
        column.addLayout(foot)
        self._strip = _ForceStrip(job)
        column.addWidget(self._strip)
        column.addWidget(rule())
        job.changed.connect(self._refresh)
        self._refresh()

    def _refresh(self) -> None:
        job = self._job
        cancelling = job.state == "cancelling"
        self._cancel.setText("Cancelling…" if cancelling else "Cancel")
        self._cancel.setEnabled(not cancelling and not job.is_over)
        self._bar.set_role("warn" if cancelling else "accent")
        self._bar.set_fraction(0.0 if job.state == "queued" else job.fraction)
        self._text.setText(job.text or ("waiting" if job.state == "queued" else " "))
        self._rate.setText(job.rate_text)
        self._left.setText(job.left_text or ("queued" if job.state == "queued" else ""))
        set_role(self._left, "t2")
        self._strip.setVisible(cancelling and job.can_force_stop)


class _ForceStrip(QFrame):
    def __init__(self, job: Job) -> None:
        super().__init__()
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 8, 8, 8)
        words = label("It has not stopped yet. What is finished is kept.", role="warn", size=12)
        words.setWordWrap(True)
        row.addWidget(words, 1)
        stop = push_button("Force stop", tall=24)
        stop.clicked.connect(job.force_stop)
        row.addWidget(stop)
        self._tint()
        theme.appearance().changed.connect(self._tint)

    def _tint(self) -> None:
        tint, edge = theme.color("warn_tint").name(), theme.color("warn").name()
        self.setStyleSheet(f"_ForceStrip {{ background: {tint}; border-left: 3px solid {edge}; }}")
