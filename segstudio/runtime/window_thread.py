"""What the interpreter and the C library are asked for, so that the window's thread never waits for long."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of mallopt(3)
_KEPT, _LARGEST = 64 * 2**20, 32 * 2**20
_SWITCH_SECONDS = 0.001


def prepare_window_thread() -> None:
    """Call once in the window's process.

    A thread that computes in Python holds the interpreter for up to 5 ms at a time, a third of a frame; here
    for one. And the C library keeps 64 MB of what was freed instead of giving it back: the tiles that a
    stroke remembers and the pictures of a frame would begin in pages which the system clears one by one, 2 ms
    for the 5 MB under a brush of 2000 pixels.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    if sys.platform.startswith("linux"):
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_TRIM_THRESHOLD, _KEPT)
            mallopt(_MMAP_THRESHOLD, _LARGEST)
