"""The picture at another size, as a network is shown it to learn how much its answer depends on that."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segstudio.core.errors import UserError

SMALLEST, LARGEST = 0.1, 4.0


def scaled_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """(H, W) at `scale`, at least a pixel. Raises UserError where the scale is not from 0.1 to 4."""
    if not SMALLEST <= scale <= LARGEST:
        raise UserError(
            f"A network cannot be run at {scale:g} times the picture's size",
            action=f"Give a scale from {SMALLEST:g} to {LARGEST:g}",
        )
    return max(1, round(height * scale)), max(1, round(width * scale))


def scaled(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """`image` (H, W, 3) at `scale`: means of pixels when it gets smaller, bilinear when it grows."""
    size = scaled_size(*image.shape[:2], scale)
    if size == image.shape[:2]:
        return image
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    resized: NDArray[np.uint8] = cv2.resize(image, (size[1], size[0]), interpolation=way)
    return resized


def resized_map(values: NDArray[np.generic], size: tuple[int, ...]) -> NDArray[np.generic]:
    """A map (h, w) of one value a pixel at `size` (H, W): each pixel takes the nearest value."""
    rows, columns = (
        np.minimum((np.arange(new) + 0.5) * old / new, old - 1).astype(np.intp)
        for new, old in zip(size, values.shape, strict=True)
    )
    return values[rows[:, None], columns]
