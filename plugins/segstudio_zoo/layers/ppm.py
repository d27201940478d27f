"""Pyramid pooling: what a whole picture, its halves, thirds and sixths look like on average.

H. Zhao, J. Shi, X. Qi, X. Wang, J. Jia: "Pyramid Scene Parsing Network", CVPR 2017, arXiv 1612.01105,
section 3.2 and Fig. 3. Shared by PSPNet, UPerNet and ICNet, which cite it.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from segstudio_zoo.layers.conv import ConvNormAct
from segstudio_zoo.layers.pooled_norm import PooledBatchNorm
from segstudio_zoo.layers.resize import resize

POOL_SCALES = (1, 2, 3, 6)


class PyramidPooling(nn.ModuleList):
    """(N, C, H, W) -> one tensor (N, channels, H, W) a scale: pooled to scale x scale, 1x1, enlarged again.

    Keys as published: "<scale index>.1.conv", "<scale index>.1.bn".
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        scales: Sequence[int] = POOL_SCALES,
        align_corners: bool = False,
    ) -> None:
        super().__init__(
            nn.Sequential(
                nn.AdaptiveAvgPool2d(scale), ConvNormAct(in_channels, channels, 1, norm=PooledBatchNorm)
            )
            for scale in scales
        )
        self.align_corners = align_corners

    def pooled(self, x: Tensor) -> list[Tensor]:
        """One tensor (N, channels, scale, scale) a scale."""
        return [pool(x) for pool in self]

    def forward(self, x: Tensor) -> list[Tensor]:
        size = (x.shape[2], x.shape[3])
        return [resize(pooled, size, align_corners=self.align_corners) for pooled in self.pooled(x)]
