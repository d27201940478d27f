"""The standard streams of a worker: descriptor 1 carries frames only, whatever plugins print."""

from __future__ import annotations

import os
import sys
import threading
from typing import BinaryIO

from segstudio.ipc import Message, encode


def claim_stdout() -> BinaryIO:
    """Keeps the real standard output for the caller and sends every other print to standard error.

    Works on descriptors, so prints of C libraries are caught as well.
    """
    sys.stdout.flush()
    kept = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return kept


def claim_stdin() -> BinaryIO:
    """Keeps the real standard input for the caller; everything else finds it empty."""
    kept = os.fdopen(os.dup(0), "rb", buffering=0)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    return kept


class FrameWriter:
    """Writes whole frames from any thread."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Raises OSError where the window has gone."""
        view = memoryview(encode(message))
        with self._lock:
            while view:
                written = self._stream.write(view)
                view = view[written or 0 :]
