"""What can be said of an attention map in numbers: entropy, mean distance, mass by class.

A map is (h, w) cells; cell (r, c) covers image pixels [offset + r * stride, offset + (r + 1) * stride).
Signed maps are measured by magnitude.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_SAMPLES = 384


def shares(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """|values| divided by their sum; all zero where the sum is."""
    magnitude = np.abs(np.nan_to_num(np.asarray(values, np.float64)))
    total = magnitude.sum()
    result: NDArray[np.float64] = magnitude / total if total > 0 else magnitude
    return result


def entropy_bits(values: NDArray[np.float32]) -> float:
    """Shannon entropy of the normalised map in bits: 0 for one cell, log2(n) for n equal ones."""
    share = shares(values)
    used = share[share > 0]
    return float(-(used * np.log2(used)).sum()) if used.size else 0.0


def mean_distance(
    values: NDArray[np.float32],
    stride: tuple[float, float],
    offset: tuple[float, float],
    x: float,
    y: float,
) -> float:
    """Mean distance in image pixels between (x, y) and the cells' centres, weighted by the map."""
    share = shares(values)
    rows = offset[0] + (np.arange(share.shape[0]) + 0.5) * stride[0]
    columns = offset[1] + (np.arange(share.shape[1]) + 0.5) * stride[1]
    distance = np.hypot((rows - y)[:, None], (columns - x)[None, :])
    return float((share * distance).sum())


def mass_by_class(
    values: NDArray[np.float32],
    stride: tuple[float, float],
    offset: tuple[float, float],
    labels: NDArray[Any],
    num_classes: int,
) -> NDArray[np.float64]:
    """Share of the map's mass on each class: (num_classes + 1,), the last for unlabelled pixels.

    A cell's mass is spread evenly over its pixels inside the image; large label maps are sampled at
    about 384 points a side.
    """
    height, width = labels.shape
    step = max(1, -(-max(height, width) // _SAMPLES))
    y, x = np.arange(step // 2, height, step), np.arange(step // 2, width, step)
    rows = np.clip(np.floor((y + 0.5 - offset[0]) / stride[0]), 0, values.shape[0] - 1).astype(np.intp)
    columns = np.clip(np.floor((x + 0.5 - offset[1]) / stride[1]), 0, values.shape[1] - 1).astype(np.intp)
    cells = rows[:, None] * values.shape[1] + columns[None, :]
    counts = np.bincount(cells.ravel(), minlength=values.size)
    weight = shares(values).ravel() / np.maximum(counts, 1)
    seen = np.minimum(labels[y][:, x].astype(np.intp), num_classes).ravel()
    mass: NDArray[np.float64] = np.bincount(
        seen, weights=weight[cells.ravel()], minlength=num_classes + 1
    ).astype(np.float64)
    total = mass.sum()
    result: NDArray[np.float64] = mass / total if total > 0 else mass
    return result


def dependence(maps: list[NDArray[np.float32]]) -> float:
    """How much a map depends on its query: mean total-variation distance between the maps of several
    queries, 0 (the same map everywhere) to 1 (no cell in common)."""
    normed = [shares(values) for values in maps]
    pairs = [
        0.5 * float(np.abs(normed[i] - normed[j]).sum())
        for i in range(len(normed))
        for j in range(i)
        if normed[i].shape == normed[j].shape
    ]
    return float(np.mean(pairs)) if pairs else 0.0
