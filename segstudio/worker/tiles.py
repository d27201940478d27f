"""Where the tiles of a large image lie, and how much each counts where they overlap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Tile:
    """Rows [y, y + height) and columns [x, x + width) of the padded image, in pixels."""

    y: int
    x: int
    height: int
    width: int

    @property
    def center(self) -> tuple[float, float]:
        return self.y + self.height / 2, self.x + self.width / 2


@dataclass(frozen=True)
class TilePlan:
    """Tiles of one size over a padded image of `height` x `width` pixels, rows of tiles from the top."""

    height: int
    width: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    tile_height: int
    tile_width: int

    @property
    def is_whole(self) -> bool:
        return len(self.rows) == len(self.columns) == 1

    @property
    def count(self) -> int:
        return len(self.rows) * len(self.columns)

    def tiles(self) -> list[Tile]:
        return [Tile(y, x, self.tile_height, self.tile_width) for y in self.rows for x in self.columns]

    def nearest(self, y: float, x: float) -> Tile:
        """The tile whose centre is nearest to a pixel."""
        return min(self.tiles(), key=lambda tile: (tile.center[0] - y) ** 2 + (tile.center[1] - x) ** 2)


def whole(height: int, width: int) -> TilePlan:
    return TilePlan(height, width, (0,), (0,), height, width)


def plan_tiles(height: int, width: int, side: int, step: int) -> TilePlan:
    """Tiles of about `side` x `side` pixels that overlap by a quarter at least.

    `height`, `width` and all positions are multiples of `step`, so that the cells of neighbouring tiles
    fall onto one grid.
    """
    side = max(step, side // step * step)
    overlap = -(-side // 4 // step) * step if side > step else 0
    tile_height, tile_width = min(side, height), min(side, width)
    rows = _starts(height, tile_height, overlap, step)
    columns = _starts(width, tile_width, overlap, step)
    return TilePlan(height, width, rows, columns, tile_height, tile_width)


def window(length: int, before: bool, after: bool) -> NDArray[np.float32]:
    """Weights (length,) of the cells along one side of a tile: a ramp over the quarter shared with a
    neighbour `before` or `after`, and one elsewhere. Never zero.
    """
    ramp = max(1, length // 4)
    weights = np.ones(length, np.float32)
    slope = (np.arange(ramp, dtype=np.float32) + 0.5) / ramp
    if before:
        weights[:ramp] = slope
    if after:
        weights[length - ramp :] = np.minimum(weights[length - ramp :], slope[::-1])
    return weights


def _starts(total: int, tile: int, overlap: int, step: int) -> tuple[int, ...]:
    if total <= tile:
        return (0,)
    stride = max(step, tile - overlap)
    number = -(-(total - tile) // stride) + 1
    # Evenly spread, so that the last overlap is not much wider than the others.
    return tuple(round(index * (total - tile) / (number - 1) / step) * step for index in range(number))
