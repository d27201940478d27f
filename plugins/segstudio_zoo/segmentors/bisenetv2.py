"""BiSeNetV2: a wide shallow detail branch and a narrow deep semantic branch, each gating the other.

C. Yu, C. Gao, J. Wang, G. Yu, C. Shen, N. Sang: "BiSeNet V2: Bilateral Network with Guided Aggregation for
Real-time Semantic Segmentation", IJCV 2021, arXiv 2004.02147. Table 1 gives both branches; Fig. 4 and 5 stem,
context embedding (CE) and gather-and-expansion (GE); section 4.3 and Fig. 6 the bilateral guided aggregation
(BGA); section 4.4 the booster heads on the semantic branch's stages, used in training only. Section 5.2.1
varies the ratio lambda of semantic to detail channels, the aggregation and the expansion; Large multiplies
widths by alpha = 2 and the GE layers of stride 1 by d = 3.

The last convolution of CE has norm and ReLU, as published weights have it; the paper has neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segstudio.plugin_api import FeatureInfo, ProbeMap, Query
from segstudio_zoo.layers.bisenet_layout import SECOND
from segstudio_zoo.layers.conv import ConvNormAct, DepthwiseSeparableConv
from segstudio_zoo.layers.dense_attention import grid_of, image_size_of
from segstudio_zoo.layers.fcn_head import FCNHead
from segstudio_zoo.layers.pooled_norm import PooledBatchNorm
from segstudio_zoo.layers.resize import resize
from segstudio_zoo.layers.segmentor import EncoderDecoder

DETAIL_CHANNELS = (64, 64, 128)
BOOSTER_CHANNELS = (16, 64, 256, 1024)
HEAD_CHANNELS = 1024
GE_REPEATS = (1, 1, 3)
"""GE layers of stride 1 behind the strided one, in stages 3, 4, 5 (Table 1)."""

VARIANTS = {"bisenetv2-trunk": (1, 1), "bisenetv2-large-trunk": (2, 3)}
"""(alpha, d): multipliers of width and depth."""


class DetailBranch(nn.Module):
    """`image` -> (N, channels[-1], H / 8, W / 8): three stages, each strided once."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        inputs = 3
        for stage, width in enumerate(channels):
            plain = [ConvNormAct(width, width, 3) for _ in range(1 if stage == 0 else 2)]
            stages.append(nn.Sequential(ConvNormAct(inputs, width, 3, stride=2), *plain))
            inputs = width
        self.detail_branch = nn.ModuleList(stages)

    def forward(self, image: Tensor) -> Tensor:
        x = image
        for stage in self.detail_branch:
            x = stage(x)
        return x


class StemBlock(nn.Module):
    """Two ways of halving, joined (Fig. 4a). `image` -> (N, channels, H / 4, W / 4)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_first = ConvNormAct(3, channels, 3, stride=2)
        self.convs = nn.Sequential(
            ConvNormAct(channels, channels // 2, 1), ConvNormAct(channels // 2, channels, 3, stride=2)
        )
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.fuse_last = ConvNormAct(2 * channels, channels, 3)

    def forward(self, image: Tensor) -> Tensor:
        x = self.conv_first(image)
        out: Tensor = self.fuse_last(torch.cat([self.convs(x), self.pool(x)], dim=1))
        return out


class GatherExpansion(nn.Module):
    """3x3, expansion by a depthwise 3x3, projection (Fig. 5b); the strided form has two depthwise layers and
    a shortcut (Fig. 5c)."""

    def __init__(self, in_channels: int, channels: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        inner = in_channels * expansion
        self.conv1 = ConvNormAct(in_channels, in_channels, 3)
        self.shortcut: nn.Module | None = None
        if stride == 1:
            self.dwconv = nn.Sequential(ConvNormAct(in_channels, inner, 3, groups=in_channels))
        else:
            self.dwconv = nn.Sequential(
                ConvNormAct(in_channels, inner, 3, stride=stride, groups=in_channels, act=None),
                ConvNormAct(inner, inner, 3, groups=inner),
            )
            self.shortcut = nn.Sequential(
                DepthwiseSeparableConv(in_channels, channels, 3, stride=stride, act=None, depthwise_act=None)
            )
        self.conv2 = nn.Sequential(ConvNormAct(inner, channels, 1, act=None))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.shortcut is None else self.shortcut(x)
        out: Tensor = self.conv2(self.dwconv(self.conv1(x)))
        return (out + shortcut).relu()


class ContextEmbedding(nn.Module):
    """The global average, embedded and added to every cell (Fig. 4b)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gap = nn.Sequential(nn.AdaptiveAvgPool2d(1), PooledBatchNorm(channels))
        self.conv_gap = ConvNormAct(channels, channels, 1, norm=PooledBatchNorm)
        self.conv_last = ConvNormAct(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv_last(x + self.conv_gap(self.gap(x)))
        return out


class SemanticBranch(nn.Module):
    """`image` -> stages at strides 4, 8, 16, 32, and the last one with its context embedded."""

    def __init__(self, channels: Sequence[int], *, expansion: int, depth: int) -> None:
        super().__init__()
        self.stage1 = StemBlock(channels[0])
        self.count = len(channels)
        for stage, repeats in enumerate(GE_REPEATS, start=1):
            inputs, width = channels[stage - 1], channels[stage]
            layers = [GatherExpansion(inputs, width, expansion=expansion, stride=2)]
            layers += [
                GatherExpansion(width, width, expansion=expansion, stride=1) for _ in range(repeats * depth)
            ]
            self.add_module(f"stage{stage + 1}", nn.Sequential(*layers))
        self.add_module(f"stage{self.count}_CEBlock", ContextEmbedding(channels[-1]))

    def forward(self, image: Tensor) -> list[Tensor]:
        out = [self.stage1(image)]
        for stage in range(2, self.count + 1):
            out.append(self.get_submodule(f"stage{stage}")(out[-1]))
        out.append(self.get_submodule(f"stage{self.count}_CEBlock")(out[-1]))
        return out


def _depthwise_then_project(channels: int) -> nn.Sequential:
    layer = DepthwiseSeparableConv(channels, channels, 3, act=None, depthwise_act=None)
    layer.pointwise_conv = ConvNormAct(channels, channels, 1, norm=None, act=None)
    return nn.Sequential(layer)


class BilateralGuidedAggregation(nn.Module):
    """Each branch gates the other, at the detail's and at the semantic's resolution (Fig. 6).

    detail (N, C, H / 8, W / 8), semantic (N, C, H / 32, W / 32) -> (N, C, H / 8, W / 8).
    """

    def __init__(self, channels: int, *, nearest: bool = False) -> None:
        super().__init__()
        self.nearest = nearest
        self.detail_dwconv = _depthwise_then_project(channels)
        self.detail_down = nn.Sequential(
            ConvNormAct(channels, channels, 3, stride=2, act=None), nn.AvgPool2d(3, stride=2, padding=1)
        )
        self.semantic_conv = nn.Sequential(ConvNormAct(channels, channels, 3, act=None))
        self.semantic_dwconv = _depthwise_then_project(channels)
        self.conv = ConvNormAct(channels, channels, 3)
        self.align_corners = False

    def gates(self, semantic: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """(N, C, *size) on the detail, (N, C, h, w) on the shrunken detail; both in 0..1."""
        fine = self._enlarged(self.semantic_conv(semantic), size)
        return torch.sigmoid(fine), torch.sigmoid(self.semantic_dwconv(semantic))

    def forward(self, detail: Tensor, semantic: Tensor) -> Tensor:
        size = (detail.shape[2], detail.shape[3])
        fine_gate, coarse_gate = self.gates(semantic, size)
        fine = self.detail_dwconv(detail) * fine_gate
        coarse = self._enlarged(self.detail_down(detail) * coarse_gate, size)
        out: Tensor = self.conv(fine + coarse)
        return out

    def _enlarged(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        if self.nearest:
            return F.interpolate(x, size=size, mode="nearest")
        return resize(x, size, align_corners=self.align_corners)


class PlainAggregation(nn.Module):
    """What section 5.2.1 compares BGA with: the enlarged semantic features added ("sum") or joined
    ("concat")."""

    def __init__(self, channels: int, *, concat: bool) -> None:
        super().__init__()
        self.concat = concat
        self.conv = ConvNormAct(2 * channels if concat else channels, channels, 3)
        self.align_corners = False

    def forward(self, detail: Tensor, semantic: Tensor) -> Tensor:
        size = (detail.shape[2], detail.shape[3])
        semantic = resize(semantic, size, align_corners=self.align_corners)
        both = torch.cat([detail, semantic], dim=1) if self.concat else detail + semantic
        out: Tensor = self.conv(both)
        return out


class BilateralTrunk(nn.Module):
    """`image` -> aggregated features at stride 8, then the semantic stages at 4, 8, 16, 32 (for boosters)."""

    def __init__(self, *, width: int, depth: int, ratio: float, expansion: int, aggregation: str) -> None:
        super().__init__()
        detail = tuple(width * channels for channels in DETAIL_CHANNELS)
        # Lambda scales stages 1 to 4; stage 5 has to meet the detail branch (Table 1).
        semantic = (int(detail[0] * ratio), int(detail[2] * ratio), int(2 * detail[2] * ratio), detail[2])
        self.detail = DetailBranch(detail)
        self.semantic = SemanticBranch(semantic, expansion=expansion, depth=depth)
        self.bga: nn.Module
        if aggregation.startswith("bga"):
            self.bga = BilateralGuidedAggregation(detail[2], nearest=aggregation == "bga-nearest")
        else:
            self.bga = PlainAggregation(detail[2], concat=aggregation == "concat")
        strides = (4, 8, 16, 32)
        stages = [FeatureInfo(channels, s) for channels, s in zip(semantic, strides, strict=True)]
        self.features = (FeatureInfo(detail[2], 8), *stages)
        self.muted: str | None = None

    def forward(self, image: Tensor) -> list[Tensor]:
        detail, stages = self.detail(image), self.semantic(image)
        semantic = stages[-1]
        if self.muted == "detail":
            detail = torch.zeros_like(detail)
        elif self.muted == "semantic":
            semantic = torch.zeros_like(semantic)
        return [self.bga(detail, semantic), *stages[:-1]]


def build_trunk(
    variant: str,
    *,
    output_stride: int | None = None,
    ratio: float = 0.25,
    expansion: int = 6,
    aggregation: str = "bga",
) -> BilateralTrunk:
    """`variant` is a key of VARIANTS; `ratio` is the paper's lambda; `aggregation` "bga", "bga-nearest" (it
    enlarges to the nearest, not bilinearly), "sum" or "concat".

    Raises ValueError for an output stride: the branches have their own.
    """
    if output_stride is not None:
        raise ValueError("BiSeNetV2's branches have strides of their own; an output stride cannot be chosen")
    width, depth = VARIANTS[variant]
    return BilateralTrunk(width=width, depth=depth, ratio=ratio, expansion=expansion, aggregation=aggregation)


def build(
    backbone: nn.Module, *, num_classes: int, align_corners: bool = False, boosters: bool = True
) -> EncoderDecoder:
    """Head on the aggregated features, a booster of weight 1 on each semantic stage.

    Raises ValueError for any backbone but its own two branches.
    """
    if not isinstance(backbone, BilateralTrunk):
        raise ValueError("it brings its own two branches, and no backbone takes their place")
    backbone.bga.align_corners = align_corners

    def head(index: int, channels: int, num_convs: int) -> FCNHead:
        return FCNHead(
            backbone.features[index].channels,
            channels,
            num_classes,
            index=index,
            num_convs=num_convs,
            concat_input=False,
            align_corners=align_corners,
        )

    sides = [head(index, channels, 2) for index, channels in enumerate(BOOSTER_CHANNELS, start=1)]
    return EncoderDecoder(
        backbone,
        head(0, HEAD_CHANNELS, 1),
        sides if boosters else None,
        num_classes=num_classes,
        align_corners=align_corners,
    )


KEY_MAPS = SECOND


def infer_options(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """What tensor shapes tell."""
    detail = shapes["backbone.detail.detail_branch.0.0.conv.weight"][0]
    stem = shapes["backbone.semantic.stage1.conv_first.conv.weight"][0]
    conv = shapes["backbone.bga.conv.conv.weight"]
    found: dict[str, Any] = {
        "ratio": stem / detail,
        "expansion": shapes["backbone.semantic.stage2.0.dwconv.0.conv.weight"][0] // stem,
        "aggregation": "bga",
    }
    if not any(key.startswith("auxiliary_head.") for key in shapes):
        found["boosters"] = False
    if "backbone.bga.semantic_conv.0.conv.weight" not in shapes:
        found["aggregation"] = "concat" if conv[1] == 2 * conv[0] else "sum"
    return found


# What a person can look at -------------------------------------------------------------------------------


@dataclass
class CapturedGates:
    """Both gates of BGA for the first picture, (C, h, w) each: "fine" on the detail, "coarse" on its
    shrunken form."""

    image_size: tuple[int, int] = (0, 0)
    align_corners: bool = False
    gates: dict[str, Tensor] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.gates.values())


class GateProbe:
    """A gate of BGA: averaged over the channels, or of one channel."""

    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[CapturedGates]:
        """Raises ValueError where the network adds or joins its branches instead."""
        found = [m for m in model.modules() if isinstance(m, BilateralGuidedAggregation)]
        if not found:
            raise ValueError("this network was built without guided aggregation: it has no gates")
        captured, module = CapturedGates(), found[0]

        @torch.no_grad()
        def keep(_: nn.Module, inputs: tuple[Tensor, Tensor]) -> None:
            detail, semantic = inputs
            fine, coarse = module.gates(semantic[:1].detach(), (detail.shape[2], detail.shape[3]))
            captured.gates = {"fine": fine[0].clone(), "coarse": coarse[0].clone()}

        handle = module.register_forward_pre_hook(keep)
        try:
            with image_size_of(model, captured):
                yield captured
        finally:
            handle.remove()

    def map(
        self,
        captured: CapturedGates,
        query: Query,
        *,
        gate: str = "fine",
        channel: int = -1,
        **options: Any,
    ) -> ProbeMap:
        if gate not in captured.gates:
            raise ValueError(f"nothing was kept of gate {gate!r}; gates are fine and coarse")
        values = captured.gates[gate]
        if channel >= values.shape[0]:
            raise ValueError(f"the gate has {values.shape[0]} channels; {channel} is none of them")
        shown = values.mean(0) if channel < 0 else values[channel]
        grid = grid_of(captured, (values.shape[1], values.shape[2]))
        means: np.ndarray = values.mean((1, 2)).float().cpu().numpy()
        return ProbeMap(
            shown.float().cpu().numpy(),
            stride=grid.stride,
            offset=grid.offset,
            extras={"channel_means": means.tolist()},
        )


def gate_probe() -> GateProbe:
    return GateProbe()


@contextmanager
def mute_branch(model: nn.Module, value: str) -> Iterator[None]:
    """ "both" branches, or without one: "without detail", "without semantic"."""
    trunks = [module for module in model.modules() if isinstance(module, BilateralTrunk)]
    before = [trunk.muted for trunk in trunks]
    for trunk in trunks:
        trunk.muted = None if value == "both" else value.removeprefix("without ")
    try:
        yield
    finally:
        for trunk, old in zip(trunks, before, strict=True):
            trunk.muted = old
