"""Memory of maps stays with the process while a network runs, and until the next run.

The C library gives large blocks straight back to the system when they are free. The next map of that size
then begins in pages that the system has to clear first, one by one: on Linux that takes three times as long
as a 1x1 convolution that fills 33 MB (17 ms against 5). GPUs have a caching allocator for the same reason.
Here the C library is asked to keep what is free, which glibc can do; with others everything stays as it is.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from segstudio.worker.memory import available_bytes

# The parameters of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NEVER = 2**31 - 1
# Where glibc's own adjustment of its thresholds ends up after the first large blocks.
_USUAL_MMAP_THRESHOLD, _USUAL_TRIM_THRESHOLD, _USUAL_MMAP_MAX = 32 * 2**20, 64 * 2**20, 65536

_SHARE_KEPT = 4  # at most a quarter of the free memory is kept for the next run
_MOST_KEPT = 2 * 2**30

_lock = threading.Lock()
_users = 0
_trimmed: _Sizes | None = None  # as it was when memory was last given back


@contextmanager
def kept() -> Iterator[None]:
    """Inside, memory that becomes free is not given back to the system. May be nested and shared by threads.

    Afterwards a quarter of the free memory at most, and never more than 2 GB, stays for the next run.
    """
    global _users
    library = _glibc()
    if library is None:
        yield
        return
    with _lock:
        _users += 1
        if _users == 1:
            library.mallopt(_TRIM_THRESHOLD, _NEVER)
            library.mallopt(_MMAP_THRESHOLD, _USUAL_MMAP_THRESHOLD)
            library.mallopt(_MMAP_MAX, 0)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                library.mallopt(_MMAP_MAX, _USUAL_MMAP_MAX)
        nbytes = kept_bytes()
        if nbytes > min(_MOST_KEPT, (available_bytes() + nbytes) // _SHARE_KEPT):
            release()


def release() -> None:
    """Gives back to the system what is kept and not in use."""
    global _trimmed
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)
        _trimmed = _sizes(library)


@contextmanager
def as_usual() -> Iterator[None]:
    """Inside, the C library works as in a process that never asked it for anything: to measure others by.

    What was kept is given back before: the first run afterwards is a first one.
    """
    library = _glibc()
    if library is None:
        yield
        return
    release()
    library.mallopt(_TRIM_THRESHOLD, _USUAL_TRIM_THRESHOLD)
    library.mallopt(_MMAP_THRESHOLD, _USUAL_MMAP_THRESHOLD)
    _fill(library, 2, _USUAL_MMAP_THRESHOLD - 2**21)  # such a process keeps as much as is not yet trimmed
    yield


def kept_bytes() -> int:
    """Bytes that the process has and does not use: the next run takes them first. 0 where nobody tells.

    Blocks that were given back still count as free with the C library, though the system has their memory.
    Since then the process has grown by what it uses more and by what it keeps.
    """
    library = _glibc()
    if library is None:
        return 0
    now = _sizes(library)
    if _trimmed is None:
        return now.free
    grown = (now.resident - _trimmed.resident) - (now.used - _trimmed.used)
    return min(max(grown, 0), now.free)


class _Sizes(NamedTuple):
    """Bytes: free within the process, in use, and with memory of their own (no file's)."""

    free: int
    used: int
    resident: int


def _sizes(library: Any) -> _Sizes:
    info = library.mallinfo2()
    resident, shared = map(int, Path("/proc/self/statm").read_text().split()[1:3])
    page = os.sysconf("SC_PAGE_SIZE")
    return _Sizes(int(info.fordblks), int(info.uordblks + info.hblkhd), page * (resident - shared))


def _fill(library: Any, number: int, nbytes: int) -> None:
    """Has the system clear the pages of some blocks, and leaves them free within the process."""
    blocks = [library.malloc(nbytes) for _ in range(number)]
    for block in filter(None, blocks):
        ctypes.memset(block, 0, nbytes)
    for block in filter(None, blocks):
        library.free(block)


class _Mallinfo2(ctypes.Structure):
    """struct mallinfo2 of malloc.h; `fordblks` are the bytes that are free within the process."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


@cache
def _glibc() -> Any:
    """The C library where it has what is needed (glibc 2.33 and later), else None."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    try:
        library.mallinfo2.restype = _Mallinfo2
        library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
        library.free.restype, library.free.argtypes = None, [ctypes.c_void_p]
        if not (library.mallopt and library.malloc_trim):
            return None
    except AttributeError:
        return None
    return library
