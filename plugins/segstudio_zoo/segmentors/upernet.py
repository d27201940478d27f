"""UPerNet: pyramid pooling on the deepest level, a feature pyramid over all.

Xiao, Liu, Zhou, Jiang, Sun, "Unified Perceptual Parsing for Scene Understanding", ECCV 2018, arXiv
1807.10221, section 3.1 and figure 4, as the segmentation head that BEiT, MAE and ConvNeXt are compared under.

A plain transformer has one stride; its four taps are brought to strides 4, 8, 16, 32 first, the `neck` of
published state dicts: by learned enlargement as BEiT does (arXiv 2106.08254, appendix; `FeatureToPyramid`),
or by resizing between convolutions (`MultiLevelNeck`), as published ViT and DeiT do, some of which have none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.layers.conv import ConvNormAct
from segstudio_zoo.layers.fcn_head import FCNHead
from segstudio_zoo.layers.joined_conv import JoinedConv
from segstudio_zoo.layers.param_groups import transformer_groups
from segstudio_zoo.layers.ppm import POOL_SCALES, PyramidPooling
from segstudio_zoo.layers.resize import resize
from segstudio_zoo.layers.segmentor import EncoderDecoder, SegmentationHead, pyramid_indices


class FeatureToPyramid(nn.Module):
    """Four maps of one stride s -> strides s / 4, s / 2, s, 2 s."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.upsample_4x = nn.Sequential(
            nn.ConvTranspose2d(dim, dim, 2, 2),
            nn.BatchNorm2d(dim),
            nn.GELU(),
            nn.ConvTranspose2d(dim, dim, 2, 2),
        )
        self.upsample_2x = nn.Sequential(nn.ConvTranspose2d(dim, dim, 2, 2))
        self.downsample_2x = nn.MaxPool2d(2, 2, ceil_mode=False)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        first, second, third, fourth = features
        if min(fourth.shape[-2:]) < 2:  # a picture of one patch a side: pooling needs two
            fourth = resize(fourth, (max(2, fourth.shape[2]), max(2, fourth.shape[3])))
        return [self.upsample_4x(first), self.upsample_2x(second), third, self.downsample_2x(fourth)]


class MultiLevelNeck(nn.Module):
    """Four maps of one stride s -> strides s / 4, s / 2, s, 2 s: a 1x1, bilinear resizing, a 3x3 each."""

    SCALES = (4.0, 2.0, 1.0, 0.5)

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.lateral_convs = nn.ModuleList(ConvNormAct(dim, dim, 1, norm=None, act=None) for _ in self.SCALES)
        self.convs = nn.ModuleList(ConvNormAct(dim, dim, 3, norm=None, act=None) for _ in self.SCALES)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        given = [lateral(x) for lateral, x in zip(self.lateral_convs, features, strict=True)]
        return [conv(_scaled(x, s)) for conv, x, s in zip(self.convs, given, self.SCALES, strict=True)]


def _scaled(x: Tensor, factor: float) -> Tensor:
    """Resized by the factor itself, which for odd sides is not the ratio of the sizes."""
    if factor < 1 and min(x.shape[-2:]) < 2:
        x = resize(x, (max(2, x.shape[2]), max(2, x.shape[3])))
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


class UPerHead(SegmentationHead):
    """Figure 4's scene part: laterals, pyramid pooling, top-down sums, all fused at the finest stride."""

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        num_classes: int,
        *,
        indices: Sequence[int] = (0, 1, 2, 3),
        pool_scales: Sequence[int] = POOL_SCALES,
        coarse_levels: int = 2,
        align_corners: bool = False,
        dropout: float = 0.1,
    ) -> None:
        """`coarse_levels`: how many levels, from the deepest, have at least four times the first's stride."""
        super().__init__(channels, num_classes, align_corners=align_corners, dropout=dropout)
        self.indices = tuple(indices)
        self.coarse_levels = coarse_levels
        deepest = in_channels[-1]
        self.psp_modules = PyramidPooling(deepest, channels, scales=pool_scales, align_corners=align_corners)
        self.bottleneck: nn.Module = ConvNormAct(deepest + len(pool_scales) * channels, channels, 3)
        self.lateral_convs = nn.ModuleList(ConvNormAct(width, channels, 1) for width in in_channels[:-1])
        self.fpn_convs = nn.ModuleList(ConvNormAct(channels, channels, 3) for _ in in_channels[:-1])
        self.fpn_bottleneck: nn.Module = ConvNormAct(len(in_channels) * channels, channels, 3)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The pyramid -> logits (N, K, h, w) at its finest stride."""
        levels = [features[index] for index in self.indices]
        deepest = levels[-1]
        if isinstance(self.bottleneck, JoinedConv):
            top = self.bottleneck(deepest, self.psp_modules.pooled(deepest))
        else:
            top = self.bottleneck(torch.cat([deepest, *self.psp_modules(deepest)], dim=1))
        maps = [top]
        for level, lateral in zip(reversed(levels[:-1]), reversed(list(self.lateral_convs)), strict=True):
            size = (level.shape[2], level.shape[3])
            maps.insert(0, lateral(level) + resize(maps[0], size, align_corners=self.align_corners))
        maps = [*(conv(x) for conv, x in zip(self.fpn_convs, maps[:-1], strict=True)), top]
        if isinstance(self.fpn_bottleneck, JoinedConv):
            fine = self._joined(maps[: -self.coarse_levels])
            return self.classify(self.fpn_bottleneck(fine, maps[-self.coarse_levels :]))
        return self.classify(self.fpn_bottleneck(self._joined(maps)))

    def _joined(self, maps: Sequence[Tensor]) -> Tensor:
        size = (maps[0].shape[2], maps[0].shape[3])
        return torch.cat([resize(x, size, align_corners=self.align_corners) for x in maps], dim=1)

    def split_joins(self) -> None:
        """For inference: both 3x3 convolutions over joined maps apart for fine and coarse ones."""
        channels = self.psp_modules[0][1].conv.out_channels
        pooled = len(self.psp_modules) * channels
        self.bottleneck = JoinedConv(self.bottleneck, pooled, align_corners=self.align_corners)
        if self.coarse_levels:
            # A level of twice the stride stays: Winograd's transforms save as much there (measured).
            coarse = self.coarse_levels * channels
            self.fpn_bottleneck = JoinedConv(self.fpn_bottleneck, coarse, align_corners=self.align_corners)


NECKS: dict[str, Callable[[int], nn.Module] | None] = {
    "pyramid": FeatureToPyramid,
    "levels": MultiLevelNeck,
    "none": None,
}


class UPerNet(EncoderDecoder):
    """Any pyramid, or a plain transformer's four taps, under UPerNet."""

    def param_groups(self, lr: float) -> list[dict[str, Any]]:
        """Layer-wise learning rates where the backbone's recipe has them; norms are not decayed."""
        return transformer_groups(self, lr, layer_decay=getattr(self.backbone, "layer_decay", 1.0))


def build(
    backbone: nn.Module,
    *,
    num_classes: int,
    align_corners: bool = False,
    channels: int | None = None,
    neck: str = "pyramid",
    auxiliary: bool = True,
    auxiliary_level: int | None = None,
    dropout: float = 0.1,
) -> UPerNet:
    """UPerNet; `channels` are the transformer's own, or 512, unless told.

    `neck` is what a backbone of one stride gets: "pyramid", "levels" or "none" (then all levels have its
    stride). `auxiliary_level`: what the auxiliary head reads, 2 or, with the last two necks, 3 unless told.
    Raises ValueError for a backbone with neither four strides 4 to 32 nor four maps of one stride.
    """
    if neck not in NECKS:
        raise ValueError(f"neck must be one of {', '.join(NECKS)}, not {neck!r}")
    features = backbone.features
    module = None
    if len(features) == 4 and len(set(features)) == 1:
        indices = [0, 1, 2, 3]
        width = features[0].channels
        make = NECKS[neck]
        module = None if make is None else make(width)
        level = 2 if neck == "pyramid" else 3
        coarse = 0 if neck == "none" else 2
    else:
        indices = pyramid_indices(features)
        width, level, coarse = 512, 2, 2
    level = level if auxiliary_level is None else auxiliary_level
    widths = [features[index].channels for index in indices]
    head = UPerHead(
        widths,
        channels or width,
        num_classes,
        indices=indices,
        coarse_levels=coarse,
        align_corners=align_corners,
        dropout=dropout,
    )
    aux = None
    if auxiliary:
        aux = FCNHead(
            widths[level],
            256,
            num_classes,
            index=indices[level],
            num_convs=1,
            concat_input=False,
            align_corners=align_corners,
            dropout=dropout,
            loss_weight=0.4,
        )
    return UPerNet(backbone, head, aux, num_classes=num_classes, align_corners=align_corners, neck=module)


_HF_PARTS = (("conv(?:olution)?", "conv"), ("(?:bn|batch_norm|normalization)", "bn"))
_HF_HEADS: tuple[tuple[str, str | None], ...] = (
    (r"(decode_head|auxiliary_head)\.classifier\.(.+)", r"\1.conv_seg.\2"),
    *(
        rule
        for theirs, ours in _HF_PARTS
        for rule in (
            (
                rf"decode_head\.psp_modules\.(?:blocks\.)?(\d)\.(?:1|conv)\.{theirs}\.(.+)",
                rf"decode_head.psp_modules.\1.1.{ours}.\2",
            ),
            (rf"decode_head\.(?:psp_)?bottleneck\.{theirs}\.(.+)", rf"decode_head.bottleneck.{ours}.\1"),
            (
                rf"(decode_head\.(?:(?:lateral|fpn)_convs\.\d|fpn_bottleneck)|auxiliary_head\.convs\.\d)"
                rf"\.{theirs}\.(.+)",
                rf"\1.{ours}.\2",
            ),
        )
    ),
)
"""The heads, under the names of BEiT's and UPerNet's own files, before transformers 5 and since."""


def _transformers(depth: int, taps: tuple[int, ...]) -> KeyMap:
    """transformers' BEiT of `depth` blocks: it counts the embedding as output 1, so block 0 as output 2."""
    return KeyMap(
        layout="transformers",
        telltale=(
            rf"beit\.(encoder\.layer|layers)\.{depth - 1}\.lambda_1",
            r"(fpn1\.0|fpn\.fpn1\.conv_transpose1)\.weight",
            r"decode_head\.classifier\.weight",
        ),
        rules=(
            (r"(beit\..+)", r"backbone.\1"),
            (r"fpn1\.(.+)", r"neck.upsample_4x.\1"),
            (r"fpn2\.(.+)", r"neck.upsample_2x.\1"),
            (r"fpn\.fpn1\.conv_transpose1\.(.+)", r"neck.upsample_4x.0.\1"),
            (r"fpn\.fpn1\.normalization\.(.+)", r"neck.upsample_4x.1.\1"),
            (r"fpn\.fpn1\.conv_transpose2\.(.+)", r"neck.upsample_4x.3.\1"),
            (r"fpn\.fpn2\.(.+)", r"neck.upsample_2x.0.\1"),
            *_HF_HEADS,
        ),
        options={"out_indices": taps},
        inner="transformers",
    )


_OWN_HEADS: tuple[tuple[str, str | None], ...] = ((r"((?:decode|auxiliary)_head\..+)", r"\1"),)


def _beit_authors(depth: int, taps: tuple[int, ...]) -> KeyMap:
    """BEiT's own repository: its backbone holds what brings the taps to four strides."""
    return KeyMap(
        layout="authors",
        telltale=(rf"backbone\.blocks\.{depth - 1}\.gamma_1", r"backbone\.fpn1\.0\.weight"),
        rules=(
            (r"backbone\.fpn1\.(.+)", r"neck.upsample_4x.\1"),
            (r"backbone\.fpn2\.(.+)", r"neck.upsample_2x.\1"),
            (r"(backbone\..+)", r"\1"),
            *_OWN_HEADS,
        ),
        options={"out_indices": taps},
        inner="timm",
    )


KEY_MAPS = (
    _beit_authors(24, (7, 11, 15, 23)),
    _beit_authors(12, (3, 5, 7, 11)),
    KeyMap(
        layout="authors",
        telltale=(r"backbone\.stages\.0\.0\.dwconv\.weight", r"backbone\.norm3\.weight"),
        rules=((r"(backbone\..+)", r"\1"), *_OWN_HEADS),
        options={"out_norm": True},
        inner="authors",
    ),
    _transformers(24, (5, 9, 13, 21)),
    _transformers(12, (1, 3, 5, 9)),
    KeyMap(
        layout="transformers",
        telltale=(r"backbone\.hidden_states_norms\.stage4\.weight", r"decode_head\.psp_modules\..+"),
        rules=((r"(backbone\..+)", r"\1"), *_HF_HEADS),
        inner="transformers",
    ),
)
"""BEiT, large and base, whose taps transformers calls 7, 11, 15, 23 and 3, 5, 7, 11 (the first that fits
counts); ConvNeXt."""


def infer_options(shapes: Mapping[str, Any]) -> dict[str, Any]:
    """The head's width, a plain transformer's neck and whether there is an auxiliary head."""
    fused = shapes.get("decode_head.fpn_bottleneck.conv.weight")
    options: dict[str, Any] = {} if fused is None else {"channels": int(fused[0])}
    if not any(key.startswith("auxiliary_head.") for key in shapes):
        options["auxiliary"] = False
    if "neck.convs.0.conv.weight" in shapes:
        options["neck"] = "levels"
    elif "backbone.cls_token" in shapes and not any(key.startswith("neck.") for key in shapes):
        options["neck"] = "none"
    return options
