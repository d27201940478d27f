"""Parts of pictures at a wanted size, for networks that learn from pictures of one size."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Box = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""

_TRIES = 10


def centre_crop(image: Image, size: tuple[int, int]) -> Image:
    """The largest middle part of `image` (H, W, 3) with the shape of `size` (width, height), at that size."""
    ratio = size[0] / size[1]
    height, width = image.shape[:2]
    part_width, part_height = min(width, round(height * ratio)), min(height, round(width / ratio))
    part = (max(1, part_width), max(1, part_height))
    return resized(image, ((width - part[0]) // 2, (height - part[1]) // 2, *part), size)


def random_box(
    width: int, height: int, rng: np.random.Generator, *, area: tuple[float, float], ratio: float
) -> Box:
    """A part of a picture with a share of its area drawn from `area` and a width / height near `ratio`.

    That is drawn log-uniformly between 3/4 and 4/3 of `ratio`. Where nothing fits in ten tries, the largest
    middle part of that ratio.
    """
    for _ in range(_TRIES):
        pixels = width * height * rng.uniform(*area)
        shape = ratio * math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(pixels * shape)), round(math.sqrt(pixels / shape))
        if 0 < w <= width and 0 < h <= height:
            return int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1)), w, h
    w, h = max(1, min(width, round(height * ratio))), max(1, min(height, round(width / ratio)))
    return (width - w) // 2, (height - h) // 2, w, h


def resized(image: Image, box: Box, size: tuple[int, int]) -> Image:
    """The part `box` of `image` (H, W, 3) at `size` (width, height): by area downwards, bicubic upwards."""
    left, top, width, height = box
    part = image[top : top + height, left : left + width]
    if (width, height) == size:
        return part
    smaller = size[0] * size[1] < width * height
    result = cv2.resize(part, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    return np.asarray(result, np.uint8)
