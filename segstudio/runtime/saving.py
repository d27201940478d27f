"""Changes of the open project on their way to the disk: who may make them, and when all are durable."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from PySide6.QtCore import QObject, Signal

from segstudio.core.errors import UserError
from segstudio.core.project import Project
from segstudio.core.writer import ProjectWriter
from segstudio.runtime.hand_over import HandOver, as_user_error

_COPIES_SECONDS = 1.0  # closing waits no longer for copies; what is left is written at the next start


class Saving(QObject):
    """Hands changes to the project's writer thread. Signals come in the window's thread."""

    saved_changed = Signal(bool)
    problem = Signal(object)  # UserError

    def __init__(self, threads: HandOver, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._threads = threads
        self._writer: ProjectWriter | None = None
        self._pending: set[Future[Any]] = set()
        self.newest: Future[Any] | None = None
        """The last change handed over; who reads the project waits for it."""

    @property
    def saved(self) -> bool:
        """Whether every change is durable."""
        return not self._pending

    def open(self, project: Project) -> None:
        """Changes go to this project from now on."""
        self._writer = ProjectWriter(project, on_problem=self._problem_from_thread)

    def let_go(self) -> Callable[[], None]:
        """Take no more changes; gives what finishes those handed over, for a thread that may wait.

        Copies for other programs may stay behind. The project stays open.
        """
        writer, self._writer = self._writer, None
        self._pending.clear()

        def finish() -> None:
            if writer is not None:
                writer.close(_COPIES_SECONDS)

        return finish

    def flush(self) -> None:
        """Wait until everything is durable and the copies for other programs are written."""
        if self._writer is not None:
            self._writer.flush()

    def when_durable(self, then: Callable[[], None]) -> None:
        """Call `then` when everything handed over so far is durable: at once, or later in this thread."""
        if self.saved or self.newest is None:
            then()
        else:
            self._threads.after(self.newest, lambda _done: then())

    def allowed(self) -> bool:
        """Whether there is a project that may be changed; a `problem` says why an open one may not."""
        if self._writer is None:
            return False
        project = self._writer.project
        if project.read_only:
            self.problem.emit(
                UserError(
                    "This project is open for reading only",
                    where=project.name,
                    action=project.read_only_reason,
                )
            )
            return False
        return True

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Run a change on the writer thread; what it raises also becomes a `problem`."""
        assert self._writer is not None, "no project is open"
        future = self.newest = self._writer.submit(work, *arguments)
        self._pending.add(future)
        if len(self._pending) == 1:
            self.saved_changed.emit(False)
        self._threads.after(future, self._written)
        return future

    def _written(self, future: Future[Any]) -> None:
        error = future.exception()
        if error is not None:
            self.problem.emit(as_user_error(error, "The change could not be saved"))
        if future in self._pending:
            self._pending.discard(future)
            if not self._pending:
                self.saved_changed.emit(True)

    def _problem_from_thread(self, error: UserError) -> None:
        self._threads.tell(lambda: self.problem.emit(error))
