"""Draws a reference network's weights again from the names and shapes of its entries.

An entry's numbers depend on nothing else, so a reference needs no weight files: whoever draws the same
numbers and gets the same outputs has the same function.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def reference_array(key: str, shape: Sequence[int], dtype: str = "float32") -> NDArray[np.float32] | None:
    """The value of entry `key`, float32 of `shape`; None for entries that keep their built value."""
    if key.endswith("num_batches_tracked") or not dtype.startswith("float"):
        return None
    shape = tuple(shape)
    draw = np.random.RandomState(zlib.crc32(key.encode()))
    size = shape or (1,)

    def normal(scale: float) -> NDArray[np.float64]:
        return scale * draw.standard_normal(size)

    def uniform(low: float, high: float) -> NDArray[np.float64]:
        return draw.uniform(low, high, size)

    if key.endswith("running_var"):
        value = uniform(0.5, 1.5)
    elif key.endswith("running_mean"):
        value = normal(0.1)
    elif len(shape) == 3 and shape[0] == 1:  # position tables, class and mask tokens
        value = normal(0.5)
    elif len(shape) >= 2:
        value = normal(math.sqrt(1.0 / math.prod(shape[1:])))
    elif key.endswith("bias"):
        value = normal(0.1)
    elif key.endswith("encoding.scale"):  # EncNet's smoothing factors are negative
        value = -0.02 * uniform(0.5, 1.5)
    elif ".branches." in key or ".fuse_layers." in key:  # HRNet adds so often that scales of 1 explode
        value = 0.5 * uniform(0.5, 1.5)
    elif ".layer_scale_" in key:
        value = 0.1 * uniform(0.5, 1.5)
    else:
        value = uniform(0.5, 1.5)
    return value.astype(np.float32).reshape(shape)
