"""The two shapes of one memory: tokens (N, H W, C) and channels-last maps (N, C, H, W)."""

from __future__ import annotations

from torch import Tensor


def to_tokens(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H W, C); a view where the map is channels last in memory."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def to_map(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, H W, C) -> (N, C, H, W) as a view, channels last in memory."""
    return x.unflatten(1, size).permute(0, 3, 1, 2)
