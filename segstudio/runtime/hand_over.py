"""Work on threads whose answers arrive in the window's thread, and never after its end."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from PySide6.QtCore import QObject, Signal, Slot

from segstudio.core.errors import UserError


class HandOver(QObject):
    """One loading thread, and the way back from any thread into the one this object lives in."""

    failed = Signal(object)  # UserError of work nobody else looks at
    _arrived = Signal(object)

    def __init__(self, name: str, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._ending = threading.Lock()
        self._ended = False
        self._owed: list[tuple[Future[None], Callable[[], None]]] = []
        self._arrived.connect(self._run)

    def load(
        self,
        work: Callable[[], Any],
        done: Callable[[Any], None],
        failed: Callable[[UserError], None] | None = None,
    ) -> None:
        """Run `work` on the loading thread, then `done(result)` here; an exception goes to `failed`.

        Without one it becomes the signal of that name.
        """
        tell = failed if failed is not None else self.failed.emit

        def settle(future: Future[Any]) -> None:
            if future.cancelled():
                return
            error = future.exception()
            if error is None:
                done(future.result())
            else:
                tell(as_user_error(error, "The project could not be read"))

        self.after(self._thread.submit(work), settle)

    def surely(self, work: Callable[[], None]) -> None:
        """Run `work` on the loading thread, after what was handed over before; `close` waits for it."""
        self._owed = [(future, owed) for future, owed in self._owed if not future.done()]
        self._owed.append((self._thread.submit(work), work))

    def after(self, future: Future[Any], then: Callable[[Future[Any]], None]) -> None:
        """Run `then(future)` in this object's thread once the future is done."""
        future.add_done_callback(lambda done: self.tell(lambda: then(done)))

    def tell(self, work: Callable[[], None]) -> None:
        """Run `work` in this object's thread; called from any thread, dropped after `close`."""
        with self._ending:
            if not self._ended:
                self._arrived.emit(work)

    def close(self) -> None:
        """Nothing arrives any more; work that waits is dropped, but for what must `surely` be done."""
        with self._ending:
            self._ended = True
        self._thread.shutdown(wait=False, cancel_futures=True)
        for future, work in self._owed:
            if future.cancelled():
                work()
            else:
                future.result()

    @Slot(object)
    def _run(self, work: Callable[[], None]) -> None:
        work()


def as_user_error(error: BaseException, what: str) -> UserError:
    """The error itself where it is one for people, else a sentence with the traceback as its details."""
    if isinstance(error, UserError):
        return error
    details = "".join(traceback.format_exception(error))
    return UserError(what, action="This is a bug: please copy the report.", details=details)
