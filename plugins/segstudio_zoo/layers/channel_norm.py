"""Layer norm over the channels of a map: Liu et al., "A ConvNet for the 2020s", 2201.03545, section 2.6."""

from __future__ import annotations

from torch import Tensor, nn

EPS = 1e-6


class ChannelLayerNorm(nn.LayerNorm):
    """Layer norm over the channels of a map (N, C, H, W); gives a channels-last map."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, EPS)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
