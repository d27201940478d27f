"""The confusion matrix of 24 megapixels and 19 classes against `np.bincount` over one combined index."""

from __future__ import annotations

from typing import Any

import numpy as np

from segstudio.core.metrics import confusion
from tests.benchmarks.timing import alternating

_CLASSES = 19


def measure() -> dict[str, Any]:
    draw = np.random.default_rng(0)
    truth, seen = draw.integers(0, _CLASSES, (2, 4000, 6000), dtype=np.uint8)

    def plain() -> np.ndarray:
        index = _CLASSES * truth.astype(np.int64) + seen
        return np.bincount(index.ravel(), minlength=_CLASSES**2).reshape(_CLASSES, _CLASSES)

    def product() -> np.ndarray:
        return confusion(truth, seen, _CLASSES)

    if not (plain() == product()).all():
        raise AssertionError("the two ways count differently")
    return {**alternating(plain, product, repeats=7)}
