"""The project's one writer: work runs in order on a single thread, away from the window.

A second thread writes the label pictures for other programs when the writer has been idle for a moment,
at most two seconds after the labels changed; strokes never wait for it.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from segstudio.core.errors import UserError
from segstudio.core.project import Project

Result = TypeVar("Result")
_Work = tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]

IDLE_SECONDS = 0.4
LONGEST_DELAY = 1.0
"""With the time of writing itself, copies stay within two seconds of the labels."""

_log = logging.getLogger(__name__)


class ProjectWriter:
    """Runs `submit`ted calls one after another and keeps the label pictures up to date.

    `on_problem` is called from the copying thread with what a person should read.
    """

    def __init__(self, project: Project, on_problem: Callable[[UserError], None] | None = None) -> None:
        self.project = project
        self._on_problem = on_problem
        self._queue: queue.Queue[_Work | None] = queue.Queue()
        self._changed = threading.Condition()
        self._dirty: dict[int, float] = {}
        self._last_work = 0.0
        self._copying = False
        self._stopping = False
        self._hurry = False
        self._closed = False
        self._writer = threading.Thread(target=self._write, name="project writer")
        self._copier = threading.Thread(target=self._copy, name="label copies")
        self._writer.start()
        self._copier.start()
        if not project.read_only:
            self.submit(self._find_stale)

    def submit(self, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Queues `function(*arguments)`; the future tells what it gave or raised."""
        if self._closed:
            raise RuntimeError("the writer is closed")
        future: Future[Result] = Future()
        self._queue.put((future, function, arguments))
        return future

    def flush(self) -> None:
        """Waits until all queued work is done and all copies are written."""
        self.submit(lambda: None).result()
        self._wait_for_copies()

    def close(self, patience: float = 5.0) -> None:
        """Finishes the queued work and ends both threads. The project stays open.

        Copies are written for at most `patience` seconds; what is left then is written at the next start.
        """
        if self._closed:
            return
        self.submit(lambda: None).result()
        self._wait_for_copies(patience)
        self._closed = True
        self._queue.put(None)
        self._writer.join()
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._copier.join()

    def _wait_for_copies(self, patience: float | None = None) -> None:
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._dirty and not self._copying, patience)
            self._hurry = False

    def _write(self) -> None:
        while (work := self._queue.get()) is not None:
            future, function, arguments = work
            if future.set_running_or_notify_cancel():
                self._run(future, function, arguments)
            with self._changed:
                self._last_work = time.monotonic()

    def _run(self, future: Future[Any], function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        try:
            result = function(*arguments)
        except BaseException as error:  # noqa: BLE001  (it belongs to whoever holds the future)
            future.set_exception(error)
            return
        # Told before the result, so that a `flush` after the result includes the copy.
        self._notice_changes()
        future.set_result(result)

    def _find_stale(self) -> None:
        """Copies that stayed behind when the project was last closed."""
        stale = self.project.stale_copies()
        with self._changed:
            now = time.monotonic()
            self._dirty = {**dict.fromkeys(stale, now), **self._dirty}
            self._changed.notify_all()

    def _notice_changes(self) -> None:
        changed = self.project.take_changed_labels()
        if changed:
            with self._changed:
                now = time.monotonic()
                for image_id in changed:
                    self._dirty.setdefault(image_id, now)
                self._changed.notify_all()

    def _copy(self) -> None:
        while True:
            with self._changed:
                while not self._stopping and not self._due():
                    self._changed.wait(self._pause())
                if self._stopping:
                    return
                image_id = min(self._dirty, key=lambda key: self._dirty[key])
                del self._dirty[image_id]
                self._copying = True
            try:
                self.project.export_copy(image_id)
            except UserError as error:
                self._report(error)
            except Exception:  # noqa: BLE001  (a bug in copying must not stop later copies)
                _log.exception("writing the copy of image %d failed", image_id)
            with self._changed:
                self._copying = False
                self._changed.notify_all()

    def _due(self) -> bool:
        if not self._dirty:
            return False
        now = time.monotonic()
        waited = now - min(self._dirty.values())
        return self._hurry or now - self._last_work >= IDLE_SECONDS or waited >= LONGEST_DELAY

    def _pause(self) -> float | None:
        return 0.1 if self._dirty else None

    def _report(self, error: UserError) -> None:
        _log.warning("%s", error)
        if self._on_problem is not None:
            self._on_problem(error)
