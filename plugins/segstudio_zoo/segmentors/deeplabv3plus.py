"""DeepLabV3+: the atrous pyramid as encoder, and a small decoder that brings sharp borders back.

Chen, Zhu, Papandreou, Schroff, Adam: Encoder-Decoder with Atrous Separable Convolution for Semantic Image
Segmentation, ECCV 2018, arXiv 1802.02611. Section 3.1 and figure 2: encoder, separable atrous
convolution, decoder with a 48-channel low-level skip (table 1) and two 3x3 of 256 (512 here, as
published weights have it).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from segstudio_zoo.layers.aspp import atrous_branches, image_pooling, project_pyramid, rates_for
from segstudio_zoo.layers.conv import ConvNormAct, DepthwiseSeparableConv
from segstudio_zoo.layers.fcn_head import auxiliary_fcn
from segstudio_zoo.layers.joined_conv import JoinedConv
from segstudio_zoo.layers.resize import resize
from segstudio_zoo.layers.segmentor import EncoderDecoder, SegmentationHead, low_level_index


class SeparableASPPHead(SegmentationHead):
    """Pyramid, 3x3, enlarged beside the projected low-level feature, two 3x3, classifier.

    `projection` behind the pyramid: "3x3" (published weights) or "1x1" (figure 2).
    `decoder` (a switch) is "on", "no skip" (zeros for the low-level feature) or "off" (the classifier
    reads the encoder's output, as in DeepLabV3).
    """

    def __init__(
        self,
        in_channels: int,
        low_channels: int,
        channels: int,
        num_classes: int,
        *,
        low_index: int,
        skip_channels: int = 48,
        rates: Sequence[int],
        separable_aspp: bool = True,
        separable_decoder: bool = True,
        projection: str = "3x3",
        align_corners: bool = False,
    ) -> None:
        if projection not in ("3x3", "1x1"):
            raise ValueError(f'projection must be "3x3" or "1x1", not {projection!r}')
        super().__init__(channels, num_classes, align_corners=align_corners)
        self.low_index, self.rates = low_index, tuple(rates)
        self.pool_off, self.decoder = False, "on"
        self.image_pool = image_pooling(in_channels, channels)
        self.aspp_modules = atrous_branches(in_channels, channels, self.rates, separable=separable_aspp)
        joined = channels * (len(self.rates) + 1)
        self.bottleneck: nn.Module = ConvNormAct(joined, channels, int(projection[0]))
        self.c1_bottleneck = ConvNormAct(low_channels, skip_channels, 1)
        conv = DepthwiseSeparableConv if separable_decoder else ConvNormAct
        self.sep_bottleneck = nn.Sequential(
            conv(channels + skip_channels, channels, 3), conv(channels, channels, 3)
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The pyramid -> logits (N, K, h, w) at the low-level feature's stride (4)."""
        x = project_pyramid(
            features[-1], self.image_pool, self.aspp_modules, self.bottleneck, pool_off=self.pool_off
        )
        if self.decoder == "off":
            return self.classify(x)
        low = self.c1_bottleneck(features[self.low_index])
        if self.decoder == "no skip":
            low = torch.zeros_like(low)
        x = resize(x, low.shape[-2:], align_corners=self.align_corners)
        return self.classify(self.sep_bottleneck(torch.cat([x, low], dim=1)))

    def split_joins(self) -> None:
        """For inference: the 3x3 convolution apart over the branches and the pooled image."""
        if self.bottleneck.conv.kernel_size != (3, 3):
            return
        channels = self.aspp_modules[0].conv.out_channels
        self.bottleneck = JoinedConv(self.bottleneck, channels, coarse_first=True)


def build(
    backbone: nn.Module,
    *,
    num_classes: int,
    align_corners: bool = False,
    channels: int = 512,
    skip_channels: int = 48,
    rates: Sequence[int] | None = None,
    separable_aspp: bool = True,
    separable_decoder: bool = True,
    projection: str = "3x3",
    auxiliary: bool = True,
    auxiliary_channels: int = 256,
) -> EncoderDecoder:
    """DeepLabV3+ on a backbone with a feature at stride 4. `rates` include the 1 of the 1x1 branch."""
    last = backbone.features[-1]
    low = low_level_index(backbone.features)
    head = SeparableASPPHead(
        last.channels,
        backbone.features[low].channels,
        channels,
        num_classes,
        low_index=low,
        skip_channels=skip_channels,
        rates=rates or rates_for(last.stride),
        separable_aspp=separable_aspp,
        separable_decoder=separable_decoder,
        projection=projection,
        align_corners=align_corners,
    )
    side = None
    if auxiliary:
        side = auxiliary_fcn(
            backbone.features, num_classes, channels=auxiliary_channels, align_corners=align_corners
        )
    return EncoderDecoder(backbone, head, side, num_classes=num_classes, align_corners=align_corners)


def infer_options(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Widths, projection, separable parts and the auxiliary head from tensor shapes."""
    head = "decode_head."
    options: dict[str, Any] = {"auxiliary": "auxiliary_head.conv_seg.weight" in shapes}
    if options["auxiliary"]:
        options["auxiliary_channels"] = shapes["auxiliary_head.conv_seg.weight"][1]
    if f"{head}conv_seg.weight" in shapes:
        options["channels"] = shapes[f"{head}conv_seg.weight"][1]
    if f"{head}c1_bottleneck.conv.weight" in shapes:
        options["skip_channels"] = shapes[f"{head}c1_bottleneck.conv.weight"][0]
    if tuple(shapes.get(f"{head}bottleneck.conv.weight", (3, 3)))[-1] == 1:
        options["projection"] = "1x1"
    options["separable_aspp"] = f"{head}aspp_modules.1.conv.weight" not in shapes
    options["separable_decoder"] = f"{head}sep_bottleneck.0.conv.weight" not in shapes
    return options


@contextmanager
def decoder(model: nn.Module, value: str) -> Iterator[None]:
    """Switch: "on", "no skip" or "off"."""
    if value not in ("on", "no skip", "off"):
        raise ValueError(f'decoder must be "on", "no skip" or "off", not {value!r}')
    model.decode_head.decoder = value
    try:
        yield
    finally:
        model.decode_head.decoder = "on"


@contextmanager
def image_pool_off(model: nn.Module, value: bool) -> Iterator[None]:
    """Switch: zeros in place of the pooled image."""
    model.decode_head.pool_off = bool(value)
    try:
        yield
    finally:
        model.decode_head.pool_off = False
