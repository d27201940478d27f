"""Bilinear resizing as all published segmentation networks do it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def resize(x: Tensor, size: tuple[int, int], *, align_corners: bool = False) -> Tensor:
    """(N, C, h, w) -> (N, C, *size), bilinear. The same size costs nothing: it is the identity."""
    height, width = int(size[0]), int(size[1])
    if x.shape[-2:] == (height, width):
        return x
    return F.interpolate(x, size=(height, width), mode="bilinear", align_corners=align_corners)
