"""The lock that makes one instance of the program the only writer of a project.

The operating system holds it, so it is freed however the process ends; the file's text only says who.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import sys
from contextlib import suppress
from pathlib import Path

_WINDOWS_LOCK_AT = 1 << 30


class ProjectLock:
    """An exclusive lock on one file. Not reentrant; a second one in the same process fails too."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Takes the lock without waiting; False when another holds it. Raises OSError without access."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        if not try_lock(descriptor):
            os.close(descriptor)
            return False
        holder = json.dumps({"pid": os.getpid(), "host": platform.node()}).encode("utf-8")
        os.ftruncate(descriptor, 0)
        os.write(descriptor, holder)
        self._descriptor = descriptor
        return True

    def holder(self) -> str:
        """Who holds the lock, in words."""
        try:
            document = json.loads(self.path.read_text("utf-8"))
            return f"process {int(document['pid'])} on {document['host']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"

    def release(self) -> None:
        """Frees the lock; without effect when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def try_lock(descriptor: int) -> bool:
    """Locks an open file until it is closed; False when another holds the lock.

    A file system without locks counts as free.
    """
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, _WINDOWS_LOCK_AT, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
            return False
        with suppress(OSError):
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return True
