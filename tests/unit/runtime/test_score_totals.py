"""Sums over images: equal to adding everything up, whatever changed on the way."""

from __future__ import annotations

import numpy as np
import pytest

from segstudio.core import metrics
from segstudio.runtime.score_totals import Confusion, ScoreTotals


def added(matrices: dict[tuple[str, int], Confusion | None], key: str, ids: set[int], size: int):
    total, count = np.zeros((size, size + 1), np.int64), 0
    for image_id in ids:
        matrix = matrices.get((key, image_id))
        if matrix is not None and matrix.any():
            side = max(len(total), len(matrix))
            total, count = metrics.padded(total, side) + metrics.padded(matrix, side), count + 1
    return total, count


@pytest.mark.parametrize("seed", range(5))
def test_totals_follow_every_change(seed: int) -> None:
    draw = np.random.default_rng(seed)
    matrices: dict[tuple[str, int], Confusion | None] = {}
    totals, selected, size = ScoreTotals(), {0, 1, 2, 3, 5}, 4
    for step in range(200):
        slot = ("ab"[draw.integers(2)], int(draw.integers(8)))
        side = int(draw.integers(4, 7))
        choice = draw.integers(4)
        matrix = None if choice == 0 else draw.integers(0, 9, (side, side + 1)) * (choice != 1)
        totals.replace(slot, matrices.get(slot), matrix)
        matrices[slot] = matrix
        if step % 40 == 39:
            selected = set(draw.choice(8, 5, replace=False).tolist())
        if step % 3 == 0:
            for key in "ab":
                total, count = totals.total(key, frozenset(selected), matrices, size)
                expected, expected_count = added(matrices, key, selected, size)
                side = max(len(total), len(expected))
                np.testing.assert_array_equal(metrics.padded(total, side), metrics.padded(expected, side))
                assert count == expected_count


def test_a_forgotten_model_is_added_up_anew() -> None:
    totals = ScoreTotals()
    one = np.ones((2, 3), np.int64)
    assert totals.total("a", frozenset({1}), {("a", 1): one}, 2)[1] == 1
    totals.forget("a")
    assert totals.total("a", frozenset({1}), {}, 2)[1] == 0
