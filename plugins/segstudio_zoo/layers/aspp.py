"""Atrous spatial pyramid pooling: one 1x1, dilated 3x3 at several rates, and the pooled image.

Chen, Papandreou, Schroff, Adam: Rethinking Atrous Convolution for Semantic Image Segmentation,
arXiv 1706.05587, section 3.3 and figure 5. The concatenation is ordered pooled image first, then the
branches by rate, as mmsegmentation's published weights have it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segstudio_zoo.layers.conv import ConvNormAct, DepthwiseSeparableConv
from segstudio_zoo.layers.joined_conv import JoinedConv
from segstudio_zoo.layers.pooled_norm import PooledBatchNorm


def rates_for(stride: int) -> tuple[int, ...]:
    """(1, 6, 12, 18) at output stride 16 and coarser, doubled at 8; section 3.3."""
    return (1, 12, 24, 36) if stride <= 8 else (1, 6, 12, 18)


def image_pooling(in_channels: int, channels: int) -> nn.Sequential:
    """Global average -> 1x1; the published key is `image_pool.1`."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), ConvNormAct(in_channels, channels, 1, norm=PooledBatchNorm))


def atrous_branches(
    in_channels: int, channels: int, rates: Sequence[int], *, separable: bool = False
) -> nn.ModuleList:
    """One branch a rate, rate 1 being the 1x1; the published key is `aspp_modules.i`.

    `separable` makes the dilated ones depthwise separable (DeepLabV3+, arXiv 1802.02611, section 3.1).
    """
    return nn.ModuleList(_branch(in_channels, channels, rate, separable) for rate in rates)


def pool_pyramid(
    x: Tensor, image_pool: nn.Module | None, branches: nn.ModuleList, *, pool_off: bool = False
) -> Tensor:
    """(N, C, H, W) -> (N, channels * (branches + 1), H, W). `pool_off` puts zeros for the pooled image."""
    parts = []
    if image_pool is not None:
        parts.append(pooled_image(x, image_pool, pool_off=pool_off).expand(-1, -1, *x.shape[-2:]))
    parts.extend(branch(x) for branch in branches)
    return torch.cat(parts, dim=1)


def pooled_image(x: Tensor, image_pool: nn.Module, *, pool_off: bool = False) -> Tensor:
    """(N, C, H, W) -> (N, channels, 1, 1), zeros with `pool_off`."""
    pooled: Tensor = image_pool(x)
    return torch.zeros_like(pooled) if pool_off else pooled


def project_pyramid(
    x: Tensor,
    image_pool: nn.Module | None,
    branches: nn.ModuleList,
    projection: nn.Module,
    *,
    pool_off: bool = False,
) -> Tensor:
    """`projection` of `pool_pyramid`, also where it is split for inference (see JoinedConv)."""
    if isinstance(projection, JoinedConv):
        assert image_pool is not None
        full = torch.cat([branch(x) for branch in branches], dim=1)
        return projection(full, [pooled_image(x, image_pool, pool_off=pool_off)])
    out: Tensor = projection(pool_pyramid(x, image_pool, branches, pool_off=pool_off))
    return out


def _branch(in_channels: int, channels: int, rate: int, separable: bool) -> nn.Module:
    if rate == 1:
        return ConvNormAct(in_channels, channels, 1)
    if separable:
        return DepthwiseSeparableConv(in_channels, channels, 3, dilation=rate)
    return ConvNormAct(in_channels, channels, 3, dilation=rate)


def valid_taps(y: int, x: int, height: int, width: int, rate: int) -> int:
    """How many of the nine taps of a dilated 3x3 at cell (y, x) lie on the map; section 3.3, figure 4."""
    rows = sum(0 <= y + step * rate < height for step in (-1, 0, 1))
    columns = sum(0 <= x + step * rate < width for step in (-1, 0, 1))
    return rows * columns
