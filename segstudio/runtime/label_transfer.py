"""What import and export of labels have in common: one request at a time to a reader, told as it goes on."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, Signal

from segstudio.core.errors import UserError
from segstudio.runtime.call import Call
from segstudio.runtime.jobs import JobQueue, job_of_call
from segstudio.runtime.session import ProjectSession
from segstudio.runtime.worker_client import WorkerClient


class LabelTransfer(QObject):
    """Labels on their way in or out; nothing is final before the second step, which tells `finished`."""

    progressed = Signal(float)
    failed = Signal(object)  # UserError
    cancelled = Signal()
    finished = Signal(int)  # images that changed, or files that were written

    def __init__(
        self,
        session: ProjectSession,
        jobs: JobQueue | None,
        client: WorkerClient | None,
        parent: QObject | None = None,
    ) -> None:
        """`client` does the work; None takes the session's own reader."""
        super().__init__(parent)
        self._session = session
        self._jobs = jobs
        self._client = session.reader if client is None else client
        self._call: Call | None = None

    def _request(self, title: str, op: str, **arguments: Any) -> Call:
        call = self._call = self._client.request(op, **arguments)
        if self._jobs is not None:
            self._jobs.add(job_of_call(title, call))
        call.progressed.connect(lambda fraction, _name: self.progressed.emit(fraction))
        call.failed.connect(self._fail)
        call.cancelled.connect(self.cancelled)
        return call

    def _fail(self, error: UserError) -> None:
        self.failed.emit(error)

    def _cancel(self) -> None:
        """Ends the request under way."""
        call, self._call = self._call, None
        if call is not None and not call.ended:
            call.cancel()
