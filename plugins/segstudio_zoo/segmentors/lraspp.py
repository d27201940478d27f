"""LR-ASPP: a light head whose pooled branch gates the features.

Howard et al.: Searching for MobileNetV3, ICCV 2019, arXiv 1905.02244, section 6.4 and figure 10: a 1x1 on
the last feature times the sigmoid of a 1x1 on its 49x49 average pooling (stride 16, 20), with skips of 64
and 32 channels from strides 4 and 2, as mmsegmentation's published weights have them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segstudio_zoo.layers.conv import ConvNormAct
from segstudio_zoo.layers.resize import resize
from segstudio_zoo.layers.segmentor import EncoderDecoder, SegmentationHead, pyramid_indices

POOL, POOL_STRIDE = 49, (16, 20)


class PooledGate(nn.Sequential):
    """Average pooling 49x49 -> 1x1 -> sigmoid; the window shrinks to maps smaller than itself."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__(
            nn.AvgPool2d(POOL, stride=POOL_STRIDE),
            ConvNormAct(in_channels, channels, 1, norm=None, bias=False, act=nn.Sigmoid),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, channels, h, w) in [0, 1]."""
        window = (min(POOL, x.shape[2]), min(POOL, x.shape[3]))
        return self[1](F.avg_pool2d(x, window, stride=POOL_STRIDE))


class LRASPPHead(SegmentationHead):
    """Gate, then two enlargements, each joined to a projected early feature.

    `gate_off` (a switch) sets the gate to 1.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        indices: Sequence[int],
        channels: int,
        num_classes: int,
        *,
        branch_channels: Sequence[int] = (32, 64),
        norm_eps: float = 1e-3,
        align_corners: bool = False,
    ) -> None:
        super().__init__(channels, num_classes, align_corners=align_corners)
        self.indices = tuple(indices)
        self.gate_off = False

        def norm(width: int) -> nn.Module:
            return nn.BatchNorm2d(width, eps=norm_eps)

        self.convs = nn.Sequential()
        self.conv_ups = nn.Sequential()
        for number, width in enumerate(branch_channels):
            self.convs.add_module(f"conv{number}", nn.Conv2d(in_channels[number], width, 1))
            self.conv_ups.add_module(
                f"conv_up{number}", ConvNormAct(channels + width, channels, 1, norm=norm)
            )
        self.conv_up_input = nn.Conv2d(channels, channels, 1)
        self.aspp_conv = ConvNormAct(in_channels[-1], channels, 1, norm=norm)
        self.image_pool = PooledGate(in_channels[-1], channels)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The pyramid -> logits (N, K, h, w) at the earliest feature's stride."""
        *early, last = (features[index] for index in self.indices)
        x = self.aspp_conv(last)
        if not self.gate_off:
            gate = self.image_pool(last)
            x = x * resize(gate, x.shape[-2:], align_corners=self.align_corners)
        x = self.conv_up_input(x)
        for number in reversed(range(len(early))):
            x = resize(x, early[number].shape[-2:], align_corners=self.align_corners)
            x = self.conv_ups[number](torch.cat([x, self.convs[number](early[number])], dim=1))
        return self.classify(x)


def build(
    backbone: nn.Module,
    *,
    num_classes: int,
    align_corners: bool = False,
    channels: int = 128,
    branch_channels: Sequence[int] = (32, 64),
) -> EncoderDecoder:
    """LR-ASPP on a backbone with features at strides 2 and 4."""
    features = backbone.features
    indices = [*pyramid_indices(features, (2, 4)), len(features) - 1]
    head = LRASPPHead(
        [features[index].channels for index in indices],
        indices,
        channels,
        num_classes,
        branch_channels=branch_channels,
        align_corners=align_corners,
    )
    return EncoderDecoder(backbone, head, num_classes=num_classes, align_corners=align_corners)


def infer_options(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Head width from tensor shapes."""
    classifier = shapes.get("decode_head.conv_seg.weight")
    return {} if classifier is None else {"channels": classifier[1]}


@contextmanager
def gate_off(model: nn.Module, value: bool) -> Iterator[None]:
    """Switch: the pooled gate at 1."""
    model.decode_head.gate_off = bool(value)
    try:
        yield
    finally:
        model.decode_head.gate_off = False
