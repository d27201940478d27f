"""The section that checks the data set before anybody trains on it: on a thread, anew for changed labels."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QScrollArea, QVBoxLayout, QWidget

from segstudio.core.errors import UserError
from segstudio.runtime.dataset_check import DatasetReport, check_dataset
from segstudio.runtime.session import ProjectSession
from segstudio.ui.train.check_panel import CheckPanel
from segstudio.ui.widgets.buttons import IconButton
from segstudio.ui.widgets.section import FoldSection


class CheckSection(FoldSection):
    """`reported` when the data set was looked at; `fix_wanted` carries the finding to put right."""

    reported = Signal()
    fix_wanted = Signal(object)
    problem = Signal(object)  # UserError
    _done = Signal(object)

    def __init__(self, session: ProjectSession) -> None:
        super().__init__("Dataset check", key="train.check")
        self._session = session
        self.report: DatasetReport | None = None
        self._stale = True
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="dataset-check")
        self.panel = CheckPanel()
        again = IconButton("refresh", "Check the dataset again")
        again.clicked.connect(self.check)
        self.add_action(again)
        inside = QWidget()
        inside.setObjectName("Plain")
        inner = QVBoxLayout(inside)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.addWidget(self.panel)
        inner.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(inside)
        scroll.setMinimumHeight(84)
        self.set_body(scroll, stretch=True)
        self.panel.fix_wanted.connect(self.fix_wanted)
        self._done.connect(self._take)

    def forget(self) -> None:
        """Another project: nothing is known of its data."""
        self.report = None
        self._stale = True

    def mark_stale(self) -> None:
        """Labels, classes or images changed."""
        self._stale = True

    def check_if_stale(self) -> None:
        if self._stale:
            self.check()

    def check(self) -> None:
        """Looks at the data set; `reported` follows."""
        project = self._session.project
        if project is None:
            return
        self._stale = False
        if self.report is None:
            self.panel.show_waiting()

        def tell(future: Future[DatasetReport]) -> None:
            if not future.cancelled():
                self._done.emit(future)

        self._thread.submit(check_dataset, project).add_done_callback(tell)

    def shut_down(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _take(self, future: Future[DatasetReport]) -> None:
        error = future.exception()
        if error is not None:
            if isinstance(error, UserError):
                self.problem.emit(error)
                return
            raise error
        report = self.report = future.result()
        self.panel.show_report(report)
        self.set_count(f"{report.train} train · {report.val} validation")
        self.reported.emit()
