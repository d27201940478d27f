"""How well a predicted label map fits a reference: the confusion matrix and what follows from it.

Pixels are left out by their label only: a prediction of an ignored or unknown class on a labelled pixel is
a miss. Everything is exact integer counting, so matrices of images may be added in any order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segstudio.core.label_map import LabelArray

Confusion = NDArray[np.int64]
"""(K, K) counts, rows = truth, columns = prediction; or (K, K + 1), the last column for no class at all."""

_STRIP_PIXELS = 1 << 23
"""A 32-bit float, in which OpenCV counts, is exact up to 2 ** 24."""


def confusion(
    truth: LabelArray,
    prediction: LabelArray,
    num_classes: int,
    ignore: int | Collection[int] = 255,
    *,
    other: bool = False,
) -> Confusion:
    """Counts of every pair of classes, rows = truth: (K, K) int64, or (K, K + 1) with `other`.

    `truth` and `prediction` (H, W) uint8 or uint16. Pixels whose truth is one of `ignore` do not count.
    Raises ValueError where the sizes differ, where `truth` holds another value of `num_classes` or more, and,
    without `other`, where `prediction` does so on a counted pixel.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"labels are {truth.shape[::-1]} and prediction {prediction.shape[::-1]} pixels")
    ignored = {ignore} if isinstance(ignore, int) else set(ignore)
    table = _joint_counts(truth, prediction, num_classes, ignored)
    counted = table[:num_classes].copy()
    counted[[index for index in ignored if index < num_classes]] = 0
    beyond = counted[:, num_classes:].sum(axis=1)
    if other:
        return np.concatenate([counted[:, :num_classes], beyond[:, None]], axis=1)
    if beyond.any():
        count = int(beyond.sum())
        raise ValueError(f"{count} labelled pixels are predicted as none of the {num_classes} classes")
    return np.ascontiguousarray(counted[:, :num_classes])


def _joint_counts(
    truth: LabelArray, prediction: LabelArray, num_classes: int, ignored: set[int]
) -> Confusion:
    """Counts of every pair of values (V, V), V > num_classes; from num_classes on they are no classes."""
    narrow = truth.dtype == prediction.dtype == np.uint8 and num_classes < 256
    size = 256 if narrow else num_classes + 1
    total = np.zeros((size, size), np.int64)
    rows = max(1, _STRIP_PIXELS // max(1, truth[0].size if len(truth) else 1))
    for start in range(0, len(truth), rows):
        one, two = truth[start : start + rows], prediction[start : start + rows]
        if narrow:
            planes = [np.ascontiguousarray(one), np.ascontiguousarray(two)]
            total += cv2.calcHist(planes, [0, 1], None, [256, 256], [0, 256, 0, 256]).astype(np.int64)
        else:
            _refuse_unknown(one, num_classes, ignored)
            index = np.minimum(one.astype(np.int64), num_classes) * size
            index += np.minimum(two.astype(np.int64), num_classes)
            total += np.bincount(index.ravel(), minlength=size * size).reshape(size, size)
    if narrow:
        for value in np.flatnonzero(total.sum(axis=1)).tolist():
            if value >= num_classes and value not in ignored:
                _unknown(value, int(total[value].sum()), num_classes)
    return total


def _refuse_unknown(truth: LabelArray, num_classes: int, ignored: set[int]) -> None:
    outside = truth[truth.astype(np.int64) >= num_classes]
    for value in np.unique(outside).tolist():
        if value not in ignored:
            _unknown(value, int((outside == value).sum()), num_classes)


def _unknown(value: int, count: int, num_classes: int) -> None:
    raise ValueError(
        f"label value {value} ({count} px) is none of the {num_classes} classes (0-{num_classes - 1})"
    )


def class_iou(matrix: Confusion) -> NDArray[np.float64]:
    """Intersection over union of every class (K,) in 0-1; NaN where a class occurs in neither map."""
    hits, union = _hits(matrix), _union(matrix)
    return _ratio(hits, union)


def class_accuracy(matrix: Confusion) -> NDArray[np.float64]:
    """Share of every class's pixels that was found (K,) in 0-1; NaN where a class has no pixel."""
    hits, pixels = _hits(matrix), matrix.sum(axis=1)
    return _ratio(hits, pixels)


def class_dice(matrix: Confusion) -> NDArray[np.float64]:
    """Dice coefficient of every class (K,) in 0-1; NaN where a class occurs in neither map."""
    hits = _hits(matrix)
    both = _union(matrix) + hits
    return _ratio(2 * hits, both)


def _ratio(part: Confusion, whole: Confusion) -> NDArray[np.float64]:
    result = np.full(len(part), np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result


def _hits(matrix: Confusion) -> Confusion:
    return np.diagonal(matrix).copy()


def _union(matrix: Confusion) -> Confusion:
    classes = len(matrix)
    union: Confusion = matrix.sum(axis=1) + matrix[:, :classes].sum(axis=0) - np.diagonal(matrix)
    return union


def summary(
    matrix: Confusion,
    names: Mapping[int, str],
    *,
    ignore: Collection[int] = (255,),
    images: int = 0,
    failed: int = 0,
) -> dict[str, Any]:
    """The evaluation as plain JSON values; fractions in 0-1, unrounded, None where undefined.

    `matrix` pooled over all images, (K, K) or (K, K + 1); `names` of class ids. Ignored ids are no classes.
    The mean IoU is over classes that occur in labels or predictions, the mean accuracy over those in labels.
    """
    size = len(matrix)
    ignored = set(ignore)
    counted = [index for index in range(size) if index not in ignored]
    iou, accuracy = class_iou(matrix), class_accuracy(matrix)
    pixels = matrix.sum(axis=1)
    total = int(pixels.sum())
    classes = [
        {
            "id": index,
            "name": names.get(index, str(index)),
            "iou": _number(iou[index]),
            "accuracy": _number(accuracy[index]),
            "pixels": int(pixels[index]),
        }
        for index in counted
    ]
    return {
        "miou": _mean(iou[counted]),
        "pixel_accuracy": int(_hits(matrix).sum()) / total if total else None,
        "mean_accuracy": _mean(accuracy[counted]),
        "classes": classes,
        "confusion": matrix[:, :size].tolist(),
        "ignore": sorted(ignored | {255}),
        "images": images,
        "failed": failed,
    }


def _number(value: np.float64) -> float | None:
    return None if np.isnan(value) else float(value)


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def padded(matrix: Confusion, size: int) -> Confusion:
    """A (K, K) or (K, K + 1) matrix as (size, size + 1), so that matrices of different sizes can be added."""
    old = len(matrix)
    result = np.zeros((size, size + 1), np.int64)
    result[:old, :old] = matrix[:, :old]
    result[:old, size] = matrix[:, old:].sum(axis=1)
    return result


def mean_iou(matrix: Confusion, counted: Iterable[int]) -> float:
    """Mean over the classes `counted` that occur in labels or predictions, in 0-1; NaN where none does."""
    ious = class_iou(matrix)
    values = [ious[index] for index in counted if index < len(ious) and not np.isnan(ious[index])]
    return float(np.mean(values)) if values else float("nan")
