"""Sums of confusion matrices over a selection of images, kept up to date matrix by matrix."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from segstudio.core import metrics

Confusion = NDArray[np.int64]


class ScoreTotals:
    """One sum for each model. A thousand images are added up once, not with every new score."""

    def __init__(self) -> None:
        self._selected: frozenset[int] = frozenset()
        self._sums: dict[str, tuple[Confusion, int]] = {}

    def clear(self) -> None:
        self._sums.clear()

    def select(self, selected: frozenset[int]) -> None:
        """The images that are added up from now on; sums of others are forgotten."""
        if selected != self._selected:
            self._selected = selected
            self._sums.clear()

    @property
    def selected(self) -> frozenset[int]:
        return self._selected

    def get(self, key: str) -> tuple[Confusion, int] | None:
        """The sum (K, K + 1) over the selected images that are scored and labelled, and their number."""
        return self._sums.get(key)

    def put(self, key: str, total: Confusion, count: int) -> None:
        """A model's sum; `replace` keeps it true."""
        self._sums[key] = (total, count)

    def replace(self, slot: tuple[str, int], before: Confusion | None, after: Confusion | None) -> None:
        """The matrix of a model and an image changed; None where there is none."""
        key, image_id = slot
        if image_id not in self._selected or key not in self._sums:
            return
        total, count = self._sums[key]
        for matrix, sign in ((before, -1), (after, 1)):
            if matrix is not None and matrix.any():
                side = max(len(total), len(matrix))
                total = metrics.padded(total, side) + sign * metrics.padded(matrix, side)
                count += sign
        self._sums[key] = (total, count)


def added_up(matrices: Iterable[Confusion | None], size: int) -> tuple[Confusion, int]:
    """The sum (K, K + 1), K at least `size`, and how many of the matrices count anything.

    Thousands of matrices of many classes take a quarter of a second.
    """
    by_size: dict[int, list[Confusion]] = {}
    for matrix in matrices:
        if matrix is not None:
            by_size.setdefault(len(matrix), []).append(matrix)
    total, count = np.zeros((size, size + 1), np.int64), 0
    for side, group in by_size.items():
        stack = np.stack(group)
        count += int(np.count_nonzero(stack.any(axis=(1, 2))))
        most = max(side, len(total))
        total = metrics.padded(total, most) + metrics.padded(stack.sum(axis=0), most)
    return total, count
