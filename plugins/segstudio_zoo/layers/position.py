"""Position tables of patch transformers: sine-cosine positions, resizing, and relative position bias.

A table whose length equals that of the input's grid is used as it is. Only otherwise is it resized, from
the grid it was trained on: square unless `image_size` tells.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def sine_cosine_table(dim: int, size: tuple[int, int], *, class_token: bool = True) -> Tensor:
    """Fixed positions (1, [1 +] h w, dim) in [-1, 1]: half of the channels for x, half for y.

    Vaswani et al. 2017, section 3.5, in two dimensions as MAE uses it (arXiv 2111.06377, section 3):
    channels are sin(x w_k), cos(x w_k), sin(y w_k), cos(y w_k) with w_k = 10000^(-k / (dim / 4)). The class
    token's row is zero. Raises ValueError unless `dim` divides by 4.
    """
    if dim % 4:
        raise ValueError(f"Sine-cosine positions need channels divisible by 4, not {dim}.")
    rate = 10000.0 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim / 4))
    rows, columns = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in size), indexing="ij")
    parts = [f(axis.reshape(-1, 1) * rate) for axis in (columns, rows) for f in (torch.sin, torch.cos)]
    table = torch.cat(parts, dim=1).float()
    if class_token:
        table = torch.cat([table.new_zeros(1, dim), table])
    return table[None]


def trained_size(image_size: Sequence[int], patch: int) -> tuple[int, int]:
    """(height, width) that position tables are made for; one number means a square.

    Raises ValueError for other than one or two numbers, or less than one patch a side.
    """
    if len(image_size) not in (1, 2) or min(image_size) < patch:
        raise ValueError(
            f"image_size is height and width, at least {patch} (one patch) each, not {tuple(image_size)}"
        )
    return int(image_size[0]), int(image_size[-1])


def trained_grid(
    length: int, image_size: tuple[int, int] | None, patch: int, *, what: str = "position table"
) -> tuple[int, int]:
    """The (rows, columns) that a table of `length` patches was made for.

    Raises ValueError where `length` is neither the grid of `image_size` nor a square.
    """
    if image_size is not None:
        grid = (image_size[0] // patch, image_size[1] // patch)
        if grid[0] * grid[1] == length:
            return grid
    side = math.isqrt(length)
    if side * side != length:
        raise ValueError(f"A {what} of {length} patches is not square; give image_size=(height, width).")
    return side, side


def position_for(
    table: Tensor,
    size: tuple[int, int],
    trained: tuple[int, int] | None,
    *,
    prefix: int = 1,
    mode: str = "bicubic",
) -> Tensor:
    """`table` (1, prefix + L, D) for a grid of `size`: (1, prefix + h w, D).

    `trained` is only looked at where the lengths differ.
    """
    if table.shape[1] == prefix + size[0] * size[1]:
        return table
    assert trained is not None
    grid = table[:, prefix:].unflatten(1, trained).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=size, mode=mode, align_corners=False)
    return torch.cat([table[:, :prefix], grid.flatten(2).transpose(1, 2)], dim=1)


def sine_cosine_grid(table: Tensor) -> tuple[int, int] | None:
    """The (rows, columns) of a table (1, 1 + L, D) of fixed sine-cosine positions, or None for others."""
    length = table.shape[1] - 1
    for rows in range(1, length + 1):
        if length % rows == 0:
            size = (rows, length // rows)
            if torch.allclose(sine_cosine_table(table.shape[2], size).to(table), table, atol=1e-4):
                return size
    return None


def _own_grid(model: nn.Module) -> tuple[int, int] | None:
    """The grid a trunk's tables were made for; None where `model` is no such trunk."""
    size = getattr(model, "image_size", None)
    return None if size is None else (size[0] // model.patch, size[1] // model.patch)


def square_positions(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """A key map's transform: sine-cosine positions of a grid that is not square are resized to the model's.

    A table does not say for which grid it was made; networks take one of another length for a square.
    """
    table = state.get("pos_embed")
    if table is None or table.is_meta or math.isqrt(table.shape[1] - 1) ** 2 == table.shape[1] - 1:
        return state
    size, trained = _own_grid(model), sine_cosine_grid(table)
    if trained is None or size is None:
        return state
    return {**state, "pos_embed": position_for(table, size, trained)}


EXTRA_RELATIONS = 3
"""Rows of a bias table behind those of the offsets: class token to patch, patch to class token, to itself."""


def relations(size: tuple[int, int]) -> int:
    """Rows of the bias table of a grid: (2 h - 1)(2 w - 1) offsets and three for the class token."""
    return (2 * size[0] - 1) * (2 * size[1] - 1) + EXTRA_RELATIONS


@functools.lru_cache(maxsize=16)
def relative_index(size: tuple[int, int]) -> Tensor:
    """(1 + h w, 1 + h w) int64: the row of the bias table for each pair of tokens, class token first.

    Offsets (dy, dx) = query - key lie at (dy + h - 1)(2 w - 1) + dx + w - 1.
    """
    height, width = size
    y = torch.arange(height).repeat_interleave(width)
    x = torch.arange(width).repeat(height)
    inner = (y[:, None] - y + height - 1) * (2 * width - 1) + (x[:, None] - x + width - 1)
    total = relations(size)
    index = torch.empty(1 + height * width, 1 + height * width, dtype=torch.int64)
    index[1:, 1:] = inner
    index[0, :] = total - 3
    index[:, 0] = total - 2
    index[0, 0] = total - 1
    return index


def bias_table_for(table: Tensor, size: tuple[int, int], trained: tuple[int, int] | None) -> Tensor:
    """`table` (relations, heads) for a grid of `size`, its offsets resized bilinearly where they differ.

    `trained` is the grid of the table; square where None. Raises ValueError where it is not square then.
    """
    if table.shape[0] == relations(size):
        return table
    offsets = table.shape[0] - EXTRA_RELATIONS
    if trained is None or relations(trained) != table.shape[0]:
        side = math.isqrt(offsets)
        if side * side != offsets:
            raise ValueError(
                f"A bias table of {offsets} offsets is not square; give image_size=(height, width)."
            )
        spread = (side, side)
    else:
        spread = (2 * trained[0] - 1, 2 * trained[1] - 1)
    grid = table[:offsets].unflatten(0, spread).permute(2, 0, 1)[None]
    wanted = (2 * size[0] - 1, 2 * size[1] - 1)
    grid = F.interpolate(grid, size=wanted, mode="bilinear", align_corners=False)
    return torch.cat([grid[0].flatten(1).T, table[offsets:]])


def resized_bias(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """A key map's transform: tables of a grid that "grid" tells and that is no square get the model's."""
    grid = state.get("grid")
    size = _own_grid(model)
    if grid is None or grid.is_meta or size is None:
        return state
    trained = (int(grid[0]), int(grid[1]))
    if trained[0] == trained[1] or trained == size:
        return state
    resized = dict(state)
    for key, value in state.items():
        if key.endswith("relative_position_bias_table"):
            resized[key] = bias_table_for(value, size, trained)
    return resized
