"""A file whose content is replaced often, written by a thread so that nobody waits for the disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from segstudio.core import atomic_file

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


class WrittenLater:
    """Replaces the file `path` with the newest content it was given, each time as a whole.

    Contents reach the disk in the order in which they were given; one that is outdated before its turn is
    left out. What was given before the interpreter ends normally is written; a process that is killed leaves
    an older content or the newest, never a part. `failed` is called in the writing thread.
    """

    def __init__(self, path: Path, failed: Callable[[OSError], None]) -> None:
        self._path = path
        self._failed = failed
        self._newest: bytes | None = None
        self._lock = threading.Lock()

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        """Made with the first content; the interpreter waits at its end for what was submitted."""
        from concurrent.futures import ThreadPoolExecutor  # the first paint of the window does without

        return ThreadPoolExecutor(1, thread_name_prefix="file-writer")

    def write(self, data: bytes) -> None:
        """Gives back at once."""
        with self._lock:
            self._newest = data
        self._thread.submit(self._write)

    def flush(self) -> None:
        """Waits until all that was given is on the disk, or its failure was told."""
        self._thread.submit(self._write).result()

    def _write(self) -> None:
        with self._lock:
            data, self._newest = self._newest, None
        if data is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            atomic_file.write_bytes(self._path, data)
        except OSError as error:
            self._failed(error)
