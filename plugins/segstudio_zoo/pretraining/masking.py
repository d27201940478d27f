"""Which patches are hidden: at random, in blocks, or on a grid.

Random: He et al., MAE, arXiv 2111.06377, section 3 ("Masking"); blocks: Bao et al., BEiT, arXiv 2106.08254,
algorithm 1; grid: MAE, section 4 and figure 6 (one of each 2 x 2 stays at 75 %).
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Masking = Literal["random", "block", "grid"]

MIN_BLOCK = 16
MIN_ASPECT = 0.3


def draw_mask(
    kind: Masking, size: tuple[int, int], ratio: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """(rows, columns), True = hidden; for all kinds exactly `hidden_count(size, ratio)` are.

    Raises ValueError for a ratio outside 0 to 1 or an unknown kind.
    """
    count = hidden_count(size, ratio)
    if kind == "random":
        order = rng.random(size).ravel()
        mask = np.zeros(order.size, np.bool_)
        mask[np.argsort(order)[order.size - count :]] = True
        return mask.reshape(size)
    if kind == "block":
        return _exactly(blockwise_mask(size, ratio, rng), count, rng)
    if kind == "grid":
        return _exactly(_grid_mask(size, ratio), count, rng)
    raise ValueError(f"masking is {kind!r}; it is random, block or grid")


def hidden_count(size: tuple[int, int], ratio: float) -> int:
    """Patches hidden at `ratio`: all but the whole part of (1 - ratio) L."""
    if not 0.0 <= ratio <= 1.0:
        raise ValueError(f"a mask ratio of {ratio:g} is not between 0 and 1")
    patches = size[0] * size[1]
    return patches - int(patches * (1.0 - ratio))


def blockwise_mask(
    size: tuple[int, int],
    ratio: float,
    rng: np.random.Generator,
    *,
    minimum: int = MIN_BLOCK,
    aspect: float = MIN_ASPECT,
) -> NDArray[np.bool_]:
    """Algorithm 1: blocks of at least `minimum` patches and aspect ratio `aspect` to its inverse.

    At least `ratio` of the patches are hidden, usually a few more.
    """
    rows, columns = size
    wanted = ratio * rows * columns
    mask = np.zeros(size, np.bool_)
    while mask.sum() < wanted:
        largest = max(wanted - mask.sum(), minimum)
        area = rng.uniform(minimum, largest) if largest > minimum else minimum
        shape = math.exp(rng.uniform(math.log(aspect), -math.log(aspect)))
        height = min(max(round(math.sqrt(area * shape)), 1), rows)
        width = min(max(round(math.sqrt(area / shape)), 1), columns)
        top = int(rng.integers(0, rows - height + 1))
        left = int(rng.integers(0, columns - width + 1))
        mask[top : top + height, left : left + width] = True
    return mask


def _grid_mask(size: tuple[int, int], ratio: float) -> NDArray[np.bool_]:
    """The rarer of visible and hidden patches as evenly spread as the ratio allows."""
    rarer = max(min(ratio, 1.0 - ratio), 1e-6)
    step = max(round(math.sqrt(1.0 / rarer)), 1)
    mask = np.full(size, ratio > 0.5, np.bool_)
    mask[::step, ::step] = ratio <= 0.5
    return mask


def _exactly(mask: NDArray[np.bool_], count: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """`mask` with patches at random hidden or shown until `count` are hidden."""
    flat = mask.ravel().copy()
    surplus = int(flat.sum()) - count
    candidates = np.flatnonzero(flat if surplus > 0 else ~flat)
    chosen = rng.choice(candidates, abs(surplus), replace=False)
    flat[chosen] = surplus < 0
    return flat.reshape(mask.shape)
