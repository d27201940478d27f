"""OpenCV in the window's process: a fill and a proposal need it, the start does not."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from pathlib import Path

_RTLD_NOW = 2


def prepare_opencv() -> None:
    """Call on a thread, right before `import cv2`.

    The import of an extension module keeps the interpreter while the system reads and binds its library: 20
    ms for the 74 MB of OpenCV, and 113 where they come from the disk. Bound before by a foreign call, which
    lets the interpreter go, the library is there already, and the import keeps it for 3 ms. Elsewhere than on
    Linux nothing is done.
    """
    if "cv2" in sys.modules or not sys.platform.startswith("linux"):
        return
    found = importlib.util.find_spec("cv2")
    bind = getattr(ctypes.CDLL(None), "dlopen", None)
    if found is None or bind is None:
        return
    bind.restype, bind.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)
    for folder in found.submodule_search_locations or ():
        for library in Path(folder).glob("cv2*.so"):
            bind(os.fsencode(library), _RTLD_NOW)  # where that fails, the import says why
