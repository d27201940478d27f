"""Memory for decoded pictures, taken and given back on threads of their own.

Reserving 530 MB for a picture of 100 megapixels takes 70 to 140 ms, and giving them back takes 30 to 80: the
kernel clears and frees every page. The window's thread does neither.
"""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable

from PySide6.QtCore import QObject, Signal, Slot

from segstudio.ipc import MappedArray


class Lease:
    """Mapped memory in use. When nobody refers to the lease any more, a thread gives the memory back.

    Whoever shows pixels of `memory` keeps the lease with them.
    """

    __slots__ = ("__weakref__", "memory")

    def __init__(self, memory: MappedArray, back: _Thread) -> None:
        self.memory = memory
        weakref.finalize(self, back.give_back, memory)


class Wish:
    """Memory asked for and not there yet."""

    def __init__(self, nbytes: int, then: Callable[[Lease | OSError], None]) -> None:
        self.nbytes = nbytes
        self.then = then
        self.dropped = False

    def drop(self) -> None:
        """Nobody waits for it any longer; `then` is not called."""
        self.dropped = True


class PictureMemory(QObject):
    """Takes memory on one thread, gives it back on another, tells in the thread this object lives in."""

    _arrived = Signal(object, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._arrived.connect(self._tell)
        self._taking, self._giving = _Thread("picture memory"), _Thread("picture memory back")
        self.destroyed.connect(self._taking.end)
        self.destroyed.connect(self._giving.end)

    def ask(self, nbytes: int, then: Callable[[Lease | OSError], None]) -> Wish:
        """`then(lease)` when `nbytes` zeroed bytes are there, `then(OSError)` where there is no room."""
        wish = Wish(nbytes, then)
        self._taking.do(lambda: self._take(wish))
        return wish

    def _take(self, wish: Wish) -> None:
        """On the taking thread."""
        if wish.dropped:
            return
        found: Lease | OSError
        try:
            found = Lease(MappedArray.create((wish.nbytes,), "u1"), self._giving)
        except OSError as error:
            found = error
        try:
            self._arrived.emit(wish, found)
        except RuntimeError:
            return  # the window was closed meanwhile

    @Slot(object, object)
    def _tell(self, wish: Wish, found: Lease | OSError) -> None:
        if not wish.dropped:
            wish.then(found)


class _Thread:
    """Runs what it is given, in order, until `end`."""

    def __init__(self, name: str) -> None:
        self._work: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def do(self, work: Callable[[], object]) -> None:
        self._work.put(work)

    def give_back(self, memory: MappedArray) -> None:
        """The file goes at once, its pages when the thread drops what is the last reference."""
        memory.close()
        self._work.put(memory.close)

    def end(self, *_: object) -> None:
        self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()
            del work
