"""What happens to a training sample: scaling, cropping, flipping, colour, all drawn from one generator."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segstudio.core.recipe import Recipe

Image = NDArray[np.uint8]
Labels = NDArray[np.uint8] | NDArray[np.uint16]

# Luma of ITU-R BT.601, on the 0-255 scale.
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_MOST_OF_ONE_CLASS = 0.75


def sample_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The random numbers of sample `index` in `epoch`: the same however often a run was interrupted."""
    return np.random.default_rng((seed, epoch, index))


def augment(
    image: Image, labels: Labels, recipe: Recipe, rng: np.random.Generator, *, fill: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """`image` (H, W, 3) uint8 RGB and `labels` (H, W) -> a crop (h, w, 3) float32 0-255 and its target.

    Where the scaled image is smaller than the crop, the rest has the colour `fill` (the mean that is
    subtracted later, so that it becomes zero) and is ignored.
    """
    width, height = recipe.crop
    low, high = np.log(recipe.scale[0]), np.log(recipe.scale[1])
    factor = float(np.exp(rng.uniform(low, high)))
    scaled_w = max(1, round(image.shape[1] * factor))
    scaled_h = max(1, round(image.shape[0] * factor))
    x, y = _place(labels, recipe, rng, (scaled_w, scaled_h))
    picture = _crop(image, (x, y), (scaled_w, scaled_h), recipe.crop, smooth=True)
    target = _crop(labels, (x, y), (scaled_w, scaled_h), recipe.crop, smooth=False)
    values = change_color(picture, recipe.color, rng)
    mirrored = recipe.flip and rng.random() < 0.5
    h, w = target.shape
    if (h, w) != (height, width):
        full = np.empty((height, width, 3), np.float32)
        full[:] = fill
        full[:h, :w] = values
        values = full
    full_target = np.full((height, width), recipe.ignore, np.int64)
    full_target[:h, :w] = target
    if mirrored:
        return cv2.flip(values, 1), np.ascontiguousarray(full_target[:, ::-1])
    return values, full_target


def _place(
    labels: Labels, recipe: Recipe, rng: np.random.Generator, scaled: tuple[int, int]
) -> tuple[int, int]:
    """Where the crop begins in the scaled image, avoiding crops that hold nearly nothing but one class.

    The rule (at most 75 % of one class, ten tries) is the usual one of semantic segmentation.
    """
    free_x, free_y = max(0, scaled[0] - recipe.crop[0]), max(0, scaled[1] - recipe.crop[1])
    x = y = 0
    for _ in range(10):
        x, y = int(rng.integers(free_x + 1)), int(rng.integers(free_y + 1))
        if not free_x and not free_y:
            break
        ratio_x, ratio_y = labels.shape[1] / scaled[0], labels.shape[0] / scaled[1]
        part = labels[
            int(y * ratio_y) : int((y + recipe.crop[1]) * ratio_y) + 1 : 4,
            int(x * ratio_x) : int((x + recipe.crop[0]) * ratio_x) + 1 : 4,
        ]
        counts = np.bincount(part.ravel(), minlength=recipe.num_classes)[: recipe.num_classes]
        if np.count_nonzero(counts) > 1 and counts.max() < _MOST_OF_ONE_CLASS * counts.sum():
            break
    return x, y


def _crop(
    array: NDArray[np.generic],
    start: tuple[int, int],
    scaled: tuple[int, int],
    crop: tuple[int, int],
    *,
    smooth: bool,
) -> NDArray[np.generic]:
    """The crop of the scaled array, without ever scaling more than the part that is kept."""
    width, height = min(crop[0], scaled[0] - start[0]), min(crop[1], scaled[1] - start[1])
    fx, fy = scaled[0] / array.shape[1], scaled[1] / array.shape[0]
    if fx == 1 and fy == 1:
        return array[start[1] : start[1] + height, start[0] : start[0] + width]
    if smooth and fx < 0.75:
        # Halving by area first keeps thin things from flickering away.
        x0, y0 = int(start[0] / fx), int(start[1] / fy)
        x1 = min(array.shape[1], int(np.ceil((start[0] + width) / fx)))
        y1 = min(array.shape[0], int(np.ceil((start[1] + height) / fy)))
        return cv2.resize(array[y0:y1, x0:x1], (width, height), interpolation=cv2.INTER_AREA)
    # Pixel centres: target (i + 0.5 + start) / f - 0.5 in the source.
    matrix = np.array(
        [[1 / fx, 0, (start[0] + 0.5) / fx - 0.5], [0, 1 / fy, (start[1] + 0.5) / fy - 0.5]], np.float64
    )
    flags = (cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST) | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(array, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def change_color(image: Image, strength: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Brightness, contrast, saturation and white balance of (h, w, 3), each by chance -> float32 0-255.

    All four are linear, so they become one matrix and one pass over the pixels.
    """
    values = image.astype(np.float32)
    if strength <= 0:
        return values
    low, high = 1 - 0.5 * strength, 1 + 0.5 * strength
    brightness, contrast, saturation = rng.uniform(low, high, 3)
    use = rng.random(4) < 0.6
    balance = rng.uniform(1 - 0.15 * strength, 1 + 0.15 * strength, 3)
    matrix, offset = np.eye(3), np.zeros(3)
    if use[0]:
        matrix *= brightness
    if use[1]:
        middle = float(np.mean(matrix @ np.array(cv2.mean(image)[:3])))
        matrix, offset = matrix * contrast, offset + (1 - contrast) * middle
    if use[2]:
        grey = (1 - saturation) * np.tile(_LUMA, (3, 1)) + saturation * np.eye(3)
        matrix, offset = grey @ matrix, grey @ offset
    if use[3]:
        matrix, offset = balance[:, None] * matrix, balance * offset
    values = cv2.transform(values, np.column_stack([matrix, offset]))
    return np.clip(values, 0, 255, out=values)
