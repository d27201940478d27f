"""The fully convolutional head: a few 3x3 convolutions and a classifier.

Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation, CVPR 2015,
arXiv 1411.4038. In the form that published networks use as the auxiliary head (PSPNet, section 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from segstudio.plugin_api import FeatureInfo
from segstudio_zoo.layers.conv import ConvNormAct, ModuleMaker, relu
from segstudio_zoo.layers.segmentor import SegmentationHead, auxiliary_index


class FCNHead(SegmentationHead):
    """`num_convs` convolutions on feature `index`, then the classifier.

    `concat_input` joins the input to the convolutions' output once more (`conv_cat`).
    `num_convs=0` classifies the input itself, which then has to have `channels` channels.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        num_classes: int,
        *,
        index: int = -1,
        num_convs: int = 2,
        kernel_size: int = 3,
        concat_input: bool = True,
        dilation: int = 1,
        act: ModuleMaker = relu,
        align_corners: bool = False,
        dropout: float = 0.1,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(
            channels, num_classes, align_corners=align_corners, dropout=dropout, loss_weight=loss_weight
        )
        if num_convs == 0 and in_channels != channels:
            raise ValueError(
                f"without convolutions channels must be in_channels {in_channels}, got {channels}"
            )
        self.index = index
        widths = [in_channels] + [channels] * num_convs
        layers = [ConvNormAct(a, b, kernel_size, dilation=dilation, act=act) for a, b in pairwise(widths)]
        self.convs: nn.Module = nn.Sequential(*layers) if layers else nn.Identity()
        self.conv_cat = (
            ConvNormAct(in_channels + channels, channels, kernel_size, act=act) if concat_input else None
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The pyramid -> logits (N, K, h, w) at the stride of feature `index`."""
        x = features[self.index]
        out = self.convs(x)
        if self.conv_cat is not None:
            out = self.conv_cat(torch.cat([x, out], dim=1))
        return self.classify(out)


def auxiliary_fcn(
    features: Sequence[FeatureInfo],
    num_classes: int,
    *,
    channels: int = 256,
    index: int | None = None,
    dilation: int = 1,
    act: ModuleMaker = relu,
    align_corners: bool = False,
    loss_weight: float = 0.4,
) -> FCNHead:
    """The auxiliary head of published networks: one 3x3 on the feature before the last, weight 0.4."""
    at = auxiliary_index(features) if index is None else index
    return FCNHead(
        features[at].channels,
        channels,
        num_classes,
        index=at,
        num_convs=1,
        concat_input=False,
        dilation=dilation,
        act=act,
        align_corners=align_corners,
        loss_weight=loss_weight,
    )
