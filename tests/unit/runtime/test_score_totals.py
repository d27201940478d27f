"""Sums over images: equal to adding everything up, whatever changed on the way."""

from __future__ import annotations

import numpy as np
import pytest

from segstudio.core import metrics
from segstudio.runtime.score_totals import Confusion, ScoreTotals, added_up


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
            totals.select(frozenset(selected))
            for key in "ab":
                found = totals.get(key)
                if found is None:
                    totals.put(key, *added_up((matrices.get((key, each)) for each in selected), size))
                    continue
                total, count = found
                expected, expected_count = added(matrices, key, selected, size)
                side = max(len(total), len(expected))
                np.testing.assert_array_equal(metrics.padded(total, side), metrics.padded(expected, side))
                assert count == expected_count


def test_what_is_added_up_at_once_is_the_sum_one_by_one() -> None:
    draw = np.random.default_rng(1)
    matrices = {("a", each): draw.integers(0, 9, (4 + each % 3, 5 + each % 3)) for each in range(20)}
    matrices[("a", 3)] = np.zeros((4, 5), np.int64)
    total, count = added_up(matrices.values(), 4)
    expected, expected_count = added(matrices, "a", set(range(20)), 4)
    np.testing.assert_array_equal(total, expected)
    assert count == expected_count == 19


def test_another_selection_has_no_sums_yet() -> None:
    totals = ScoreTotals()
    totals.select(frozenset({1}))
    totals.put("a", np.ones((2, 3), np.int64), 1)
    totals.select(frozenset({1}))
    assert totals.get("a") is not None
    totals.select(frozenset({1, 2}))
    assert totals.get("a") is None
