"""The image pyramid the canvas paints from: level after level in one flat buffer, BGRA, 4 bytes a pixel.

BGRA in memory is 0xFFRRGGBB as a little-endian word, which Qt calls Format_RGB32.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

SMALLEST_LEVEL = 512


def level_sizes(width: int, height: int) -> list[tuple[int, int]]:
    """(width, height) of the levels: each half the one before (rounded up) until both are at most 512."""
    sizes = [(width, height)]
    while max(sizes[-1]) > SMALLEST_LEVEL:
        w, h = sizes[-1]
        sizes.append(((w + 1) // 2, (h + 1) // 2))
    return sizes


def levels_nbytes(width: int, height: int) -> int:
    """Bytes of the whole pyramid."""
    return sum(w * h * 4 for w, h in level_sizes(width, height))


def level_views(out: NDArray[np.uint8], width: int, height: int) -> Iterator[NDArray[np.uint8]]:
    """The levels (h, w, 4) inside the flat buffer `out` of `levels_nbytes(width, height)` bytes."""
    at = 0
    for w, h in level_sizes(width, height):
        yield out[at : at + w * h * 4].reshape(h, w, 4)
        at += w * h * 4


def fill_smaller_levels(
    out: NDArray[np.uint8], width: int, height: int, progress: Callable[[float], None] | None = None
) -> None:
    """Fills all levels from the first, each by averaging 2 x 2 pixels of the one before."""
    levels = list(level_views(out, width, height))
    for index, (larger, smaller) in enumerate(itertools.pairwise(levels)):
        cv2.resize(larger, (smaller.shape[1], smaller.shape[0]), smaller, interpolation=cv2.INTER_AREA)
        if progress is not None:
            progress((index + 1) / (len(levels) - 1))
