"""SegFormer's all-MLP decoder.

Xie, Wang, Yu, Anandkumar, Alvarez, Luo, "SegFormer: Simple and Efficient Design for Semantic Segmentation
with Transformers", NeurIPS 2021, arXiv 2105.15203, section 3.2, equation 4: (1) a linear layer brings each
of the four levels to C channels, (2) all are enlarged to stride 4, (3) concatenated and fused by a linear
layer, (4) classified by another.

Two published forms of step 1: linear only (the paper, the authors' code and transformers: `projection =
"linear"`), and 1x1 convolution, batch norm and ReLU (mmsegmentation: "conv"). They also concatenate in
opposite orders (`fusion_order`).

The fusing layer is linear, and so is bilinear enlarging, whose weights sum to 1 at each pixel: the slice of
the fusing layer that belongs to a level is applied before enlarging, which is the same function at less
than half of the multiplications.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.key_transforms import shaped_like
from segstudio_zoo.layers.conv import ConvNormAct
from segstudio_zoo.layers.param_groups import transformer_groups
from segstudio_zoo.layers.resize import resize
from segstudio_zoo.layers.segmentor import EncoderDecoder, SegmentationHead, pyramid_indices


class SegformerHead(SegmentationHead):
    """Equation 4 over the features at strides 4, 8, 16, 32; logits at stride 4."""

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        num_classes: int,
        *,
        indices: Sequence[int] = (0, 1, 2, 3),
        projection: str = "conv",
        fusion_order: str = "fine_to_coarse",
        align_corners: bool = False,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, num_classes, align_corners=align_corners, dropout=dropout)
        if projection not in ("conv", "linear"):
            raise ValueError(f"projection is {projection!r}; it is 'conv' or 'linear'.")
        if fusion_order not in ("fine_to_coarse", "coarse_to_fine"):
            raise ValueError(f"fusion_order is {fusion_order!r}; it is 'fine_to_coarse' or 'coarse_to_fine'.")
        self.indices = tuple(indices)
        self.fusion_order = fusion_order
        plain: dict[str, Any] = {} if projection == "conv" else {"norm": None, "act": None}
        self.convs = nn.ModuleList(ConvNormAct(width, channels, 1, **plain) for width in in_channels)
        self.fusion_conv = ConvNormAct(channels * len(in_channels), channels, 1)
        # Its convolution never runs as a whole, so that whoever folds norms cannot see the pair by running.
        self.fusion_conv.norm_pairs = (("conv", "bn"),)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Four maps -> logits (N, K, H / 4, W / 4)."""
        levels = [features[index] for index in self.indices]
        slices = self.fusion_conv.conv.weight.chunk(len(levels), dim=1)
        if self.fusion_order == "coarse_to_fine":
            slices = slices[::-1]
        size = levels[0].shape[-2:]
        bias = self.fusion_conv.conv.bias  # there once a batch norm was folded in
        fused = F.conv2d(self.convs[0](levels[0]), slices[0], bias)
        for level, project, weight in zip(levels[1:], list(self.convs)[1:], slices[1:], strict=True):
            fused += resize(F.conv2d(project(level), weight), size, align_corners=self.align_corners)
        return self.classify(self.fusion_conv.activate(self.fusion_conv.bn(fused)))


class SegFormer(EncoderDecoder):
    """MiT and the all-MLP decoder."""

    def param_groups(self, lr: float) -> list[dict[str, Any]]:
        """Section 4.1 and the published recipe: AdamW, the head at ten times `lr`, norms not decayed."""
        return transformer_groups(self, lr, head_factor=10.0)


def build(
    backbone: nn.Module,
    *,
    num_classes: int,
    align_corners: bool = False,
    channels: int = 256,
    projection: str = "conv",
    fusion_order: str = "fine_to_coarse",
    dropout: float = 0.1,
) -> SegFormer:
    """SegFormer on any pyramid with strides 4, 8, 16, 32; `channels` 256 for every published mmseg model.

    Raises ValueError where a stride is missing.
    """
    indices = pyramid_indices(backbone.features)
    head = SegformerHead(
        [backbone.features[index].channels for index in indices],
        channels,
        num_classes,
        indices=indices,
        projection=projection,
        fusion_order=fusion_order,
        align_corners=align_corners,
        dropout=dropout,
    )
    return SegFormer(backbone, head, num_classes=num_classes, align_corners=align_corners)


_PAPERS_WAY = {"projection": "linear", "fusion_order": "coarse_to_fine"}

KEY_MAPS = (
    KeyMap(
        layout="transformers",
        telltale=(
            r"segformer\.(encoder\.block|stages)\.0\..+",
            r"decode_head\.linear_(c|projections)\.0\.proj\.weight",
        ),
        rules=(
            (r"(segformer\..+)", r"backbone.\1"),
            (r"decode_head\.linear_(?:c|projections)\.(\d)\.proj\.(.+)", r"decode_head.convs.\1.conv.\2"),
            (r"decode_head\.linear_fuse\.(.+)", r"decode_head.fusion_conv.conv.\1"),
            (r"decode_head\.batch_norm\.(.+)", r"decode_head.fusion_conv.bn.\1"),
            (r"decode_head\.classifier\.(.+)", r"decode_head.conv_seg.\1"),
        ),
        options=_PAPERS_WAY,
        transform=shaped_like,
        inner="transformers",
    ),
    KeyMap(
        layout="authors",
        telltale=(r"backbone\.block1\.0\.attn\.kv\.weight", r"decode_head\.linear_c1\.proj\.weight"),
        rules=(
            (r"(backbone\..+)", r"\1"),
            (r"decode_head\.linear_c1\.proj\.(.+)", r"decode_head.convs.0.conv.\1"),
            (r"decode_head\.linear_c2\.proj\.(.+)", r"decode_head.convs.1.conv.\1"),
            (r"decode_head\.linear_c3\.proj\.(.+)", r"decode_head.convs.2.conv.\1"),
            (r"decode_head\.linear_c4\.proj\.(.+)", r"decode_head.convs.3.conv.\1"),
            (r"decode_head\.linear_fuse\.(.+)", r"decode_head.fusion_conv.\1"),
            (r"decode_head\.linear_pred\.(.+)", r"decode_head.conv_seg.\1"),
            (r"decode_head\.conv_seg\.(.+)", None),
        ),
        options=_PAPERS_WAY,
        transform=shaped_like,
        inner="authors",
    ),
)


def infer_options(shapes: Mapping[str, Any]) -> dict[str, Any]:
    """The decoder's width."""
    fused = shapes.get("decode_head.fusion_conv.conv.weight")
    return {} if fused is None else {"channels": int(fused[0])}
