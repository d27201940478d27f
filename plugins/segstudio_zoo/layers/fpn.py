"""Feature pyramid and the head that adds its levels up.

T.-Y. Lin et al.: "Feature Pyramid Networks for Object Detection", CVPR 2017, arXiv 1612.03144, section 3
(`FeaturePyramid`). A. Kirillov, R. Girshick, K. He, P. Dollar: "Panoptic Feature Pyramid Networks", CVPR
2019, arXiv 1901.02446, section 3.1 and Fig. 3 (`SemanticFPNHead`). Shared by SemanticFPN and PointRend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from segstudio_zoo.layers.conv import ConvNormAct, ModuleMaker
from segstudio_zoo.layers.resize import resize
from segstudio_zoo.layers.segmentor import SegmentationHead

GROUPS = 32


class FeaturePyramid(nn.Module):
    """A pyramid -> the same strides, all with `channels`: 1x1 laterals, top-down sum (nearest), 3x3."""

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        self.lateral_convs = nn.ModuleList(
            ConvNormAct(width, channels, 1, norm=None, act=None) for width in in_channels
        )
        self.fpn_convs = nn.ModuleList(
            ConvNormAct(channels, channels, 3, norm=None, act=None) for _ in in_channels
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """High resolution first, in and out."""
        levels = [conv(x) for conv, x in zip(self.lateral_convs, features, strict=True)]
        for fine in range(len(levels) - 2, -1, -1):
            size = levels[fine].shape[2:]
            levels[fine] = levels[fine] + F.interpolate(levels[fine + 1], size=size, mode="nearest")
        return [conv(x) for conv, x in zip(self.fpn_convs, levels, strict=True)]


class Double(nn.Module):
    """Bilinear enlargement to twice the size."""

    def __init__(self, *, align_corners: bool) -> None:
        super().__init__()
        self.align_corners = align_corners

    def forward(self, x: Tensor) -> Tensor:
        return resize(x, (2 * x.shape[2], 2 * x.shape[3]), align_corners=self.align_corners)


class SemanticFPNHead(SegmentationHead):
    """Each level is brought to the finest stride by 3x3 convolutions and doublings; the sum is classified.

    `norm` "batch", or "group" as in the paper (32 groups).
    """

    def __init__(
        self,
        in_channels: int,
        strides: Sequence[int],
        channels: int,
        num_classes: int,
        *,
        align_corners: bool,
        dropout: float,
        norm: str = "batch",
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(
            channels, num_classes, align_corners=align_corners, dropout=dropout, loss_weight=loss_weight
        )
        if norm not in ("batch", "group"):
            raise ValueError(f'norm must be "batch" or "group", not {norm!r}')
        make: ModuleMaker = nn.BatchNorm2d if norm == "batch" else partial(nn.GroupNorm, GROUPS)
        self.scale_heads = nn.ModuleList()
        for stride in strides:
            doublings = (stride // strides[0]).bit_length() - 1
            layers: list[nn.Module] = [ConvNormAct(in_channels, channels, 3, norm=make)]
            for step in range(doublings):
                if step:
                    layers.append(ConvNormAct(channels, channels, 3, norm=make))
                layers.append(Double(align_corners=align_corners))
            self.scale_heads.append(nn.Sequential(*layers))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """One feature a stride, high resolution first -> logits (N, K, h, w) at the finest stride."""
        total: Tensor = self.scale_heads[0](features[0])
        size = (total.shape[2], total.shape[3])
        for head, x in zip(list(self.scale_heads)[1:], features[1:], strict=True):
            total = total + resize(head(x), size, align_corners=self.align_corners)
        return self.classify(total)


def group_norms(shapes: Mapping[str, Sequence[int]], head: str) -> bool:
    """Whether the head of this name has group norms, by its entries."""
    norm = f"{head}.scale_heads.0.0.bn."
    return f"{norm}weight" in shapes and f"{norm}running_mean" not in shapes
