"""Pyramid scene parsing network: pyramid pooling on the last feature, one convolution, classifier.

H. Zhao, J. Shi, X. Qi, X. Wang, J. Jia: "Pyramid Scene Parsing Network", CVPR 2017, arXiv 1612.01105. Section
3.2: pooling at scales 1, 2, 3, 6; section 3.3: the auxiliary loss, weight 0.4, on the stage before the last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.layers.conv import ConvNormAct
from segstudio_zoo.layers.fcn_head import auxiliary_fcn
from segstudio_zoo.layers.joined_conv import JoinedConv
from segstudio_zoo.layers.ppm import POOL_SCALES, PyramidPooling
from segstudio_zoo.layers.segmentor import EncoderDecoder, SegmentationHead
from segstudio_zoo.layers.semseg_layout import SEMSEG_OPTIONS, SEMSEG_RULES


class PSPHead(SegmentationHead):
    """The feature and its pooled pyramid, joined, then a 3x3 convolution and the classifier (Fig. 3)."""

    def __init__(
        self, in_channels: int, channels: int, num_classes: int, *, scales: Sequence[int], align_corners: bool
    ) -> None:
        super().__init__(channels, num_classes, align_corners=align_corners)
        self.psp_modules = PyramidPooling(in_channels, channels, scales=scales, align_corners=align_corners)
        self.bottleneck: nn.Module = ConvNormAct(in_channels + len(scales) * channels, channels, 3)
        self.in_channels = in_channels
        self.muted_scales: tuple[int, ...] = ()
        self.scales = tuple(scales)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The last feature (N, C, h, w) -> logits (N, K, h, w)."""
        x = features[-1]
        split = isinstance(self.bottleneck, JoinedConv)
        values = self.psp_modules.pooled(x) if split else self.psp_modules(x)
        pooled = [
            torch.zeros_like(value) if scale in self.muted_scales else value
            for scale, value in zip(self.scales, values, strict=True)
        ]
        if split:
            return self.classify(self.bottleneck(x, pooled))
        return self.classify(self.bottleneck(torch.cat([x, *pooled], dim=1)))

    def split_joins(self) -> None:
        """For inference: the 3x3 convolution apart over the feature and its pooled maps."""
        channels = self.bottleneck.conv.in_channels - self.in_channels
        self.bottleneck = JoinedConv(self.bottleneck, channels, align_corners=self.align_corners)


def build(
    backbone: nn.Module,
    *,
    num_classes: int,
    align_corners: bool = False,
    pool_scales: Sequence[int] = POOL_SCALES,
    channels: int = 512,
    auxiliary_channels: int = 256,
) -> EncoderDecoder:
    """PSPNet on the last feature of `backbone`, auxiliary FCN head (0.4) on the one before."""
    infos = backbone.features
    head = PSPHead(infos[-1].channels, channels, num_classes, scales=pool_scales, align_corners=align_corners)
    auxiliary = auxiliary_fcn(infos, num_classes, channels=auxiliary_channels, align_corners=align_corners)
    return EncoderDecoder(backbone, head, auxiliary, num_classes=num_classes, align_corners=align_corners)


KEY_MAPS = (
    KeyMap(
        layout="authors (semseg)",
        telltale=(r"ppm\.features\.0\.1\.weight", r"cls\.4\.weight", r"layer0\.6\.weight"),
        rules=(
            (r"ppm\.features\.(\d)\.1\.(.+)", r"decode_head.psp_modules.\1.1.conv.\2"),
            (r"ppm\.features\.(\d)\.2\.(.+)", r"decode_head.psp_modules.\1.1.bn.\2"),
            *SEMSEG_RULES,
        ),
        options=SEMSEG_OPTIONS,
    ),
)
"""The authors' own repository, for pictures of 8 n + 1 pixels a side."""


def infer_options(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """What tensor shapes tell; the scales themselves have no weights, only their number shows."""
    found: dict[str, Any] = {"channels": shapes["decode_head.bottleneck.conv.weight"][0]}
    auxiliary = shapes.get("auxiliary_head.convs.0.conv.weight")
    if auxiliary is not None:
        found["auxiliary_channels"] = auxiliary[0]
    return found


@contextmanager
def mute_scales(model: nn.Module, value: str) -> Iterator[None]:
    """ "all" scales as trained, or the numbers that are left ("6", "" for none): the others give zeros."""
    heads = [module for module in model.modules() if isinstance(module, PSPHead)]
    before = [head.muted_scales for head in heads]
    for head in heads:
        kept = head.scales if value == "all" else tuple(int(n) for n in value.split())
        head.muted_scales = tuple(scale for scale in head.scales if scale not in kept)
    try:
        yield
    finally:
        for head, old in zip(heads, before, strict=True):
            head.muted_scales = old
