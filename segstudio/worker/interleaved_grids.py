"""A dilated convolution is one without dilation on each of its rate^2 interleaved grids."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def split_grids(x: Tensor, rate: int) -> Tensor:
    """(N, H, W, C) -> (N * rate^2, ceil(H / rate), ceil(W / rate), C), zeros where there was nothing."""
    x = F.pad(x, (0, 0, 0, -x.shape[2] % rate, 0, -x.shape[1] % rate))
    n, h, w, c = x.shape
    grids = x.reshape(n, h // rate, rate, w // rate, rate, c).permute(0, 2, 4, 1, 3, 5)
    return grids.reshape(n * rate * rate, h // rate, w // rate, c)


def join_grids(y: Tensor, rate: int, size: tuple[int, int]) -> Tensor:
    """The way back: (N * rate^2, h, w, C) -> (N, *size, C)."""
    h, w, c = y.shape[1:]
    y = y.reshape(-1, rate, rate, h, w, c).permute(0, 3, 1, 4, 2, 5)
    return y.reshape(-1, h * rate, w * rate, c)[:, : size[0], : size[1]]
