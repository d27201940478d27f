"""The check that a bundle works: open the demo, run a network on it, leave with 0 when its mask is there."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer, Signal

if TYPE_CHECKING:
    from segstudio.ui.main_window import MainWindow


class DemoSmoke(QObject):
    """`ended(0)` when the demo showed a mask, `ended(1)` with a line on stderr when it did not."""

    ended = Signal(int)

    def __init__(self, window: MainWindow, *, seconds: int) -> None:
        super().__init__(window)
        self._window = window
        self._asked = False
        self._over = False
        self._limit = QTimer(self, singleShot=True, interval=seconds * 1000)
        self._limit.timeout.connect(lambda: self._fail(f"no mask within {seconds} s"))
        self._limit.start()
        window.completed.connect(self._follow)

    def _follow(self) -> None:
        services = self._window.services
        if services is None or services.shelf is None:
            self._fail("the window has no engine")
            return
        services.session.image_ready.connect(self._try)
        services.shelf.changed.connect(self._try)

    def _try(self) -> None:
        services = self._window.services
        if self._asked or services is None or services.shelf is None:
            return
        image, record = services.session.image, services.session.current
        runnable = [model for model in services.shelf.runnable if model.origin == "demo"]
        if not runnable or image is None or not image.complete or record is None:
            return
        self._asked = True
        predictions = services.predictions
        predictions.ready.connect(self._ready)
        predictions.failed.connect(lambda _key, _image, error: self._fail(str(error)))
        predictions.request(runnable[0], record.id)

    def _ready(self, key: str, image_id: int) -> None:
        services = self._window.services
        result: Any = services.predictions.get(key, image_id) if services is not None else None
        if result is None:
            self._fail("the mask was lost")
        else:
            self._end(0)

    def _fail(self, why: str) -> None:
        if not self._over:
            print(f"segstudio: the demo failed: {why}", file=sys.stderr)
        self._end(1)

    def _end(self, code: int) -> None:
        if not self._over:
            self._over = True
            self._window.close()
            self.ended.emit(code)
