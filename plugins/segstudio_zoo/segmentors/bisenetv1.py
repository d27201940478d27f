"""Bilateral segmentation network: a shallow wide path for detail, a deep one for context.

C. Yu, J. Wang, C. Peng, C. Gao, G. Yu, N. Sang: "BiSeNet: Bilateral Segmentation Network for Real-time
Semantic Segmentation", ECCV 2018, arXiv 1808.00897. Section 3.1: spatial path, three strided convolutions to
stride 8; section 3.2: context path, a light network whose features at strides 16 and 32 pass an attention
refinement module (ARM) and to which a global average is added; section 3.3: feature fusion module (FFM);
Eq. 1: the loss and two auxiliary losses, all of weight 1.

Published weights have a fourth, 1x1 layer in the spatial path where the paper has three
(`spatial_projection=False`), a 3x3 convolution before each ARM's gate and one after each enlarging of the
context path that the paper does not mention, and mostly one 1x1 in the FFM's gate where the paper has two
(`gate_reduction`).
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

from segstudio.plugin_api import ProbeMap, Query
from segstudio_zoo.layers.bisenet_layout import FIRST
from segstudio_zoo.layers.conv import ConvNormAct
from segstudio_zoo.layers.dense_attention import grid_of, image_size_of
from segstudio_zoo.layers.fcn_head import FCNHead
from segstudio_zoo.layers.pooled_norm import PooledBatchNorm
from segstudio_zoo.layers.resize import resize
from segstudio_zoo.layers.segmentor import EncoderDecoder, pyramid_indices

TRUNK_PREFIX = "backbone.context_path.backbone."
"""Where the backbone's own keys stand."""

MIN_CONTEXT_CHANNELS = 128


class SpatialPath(nn.Module):
    """`image` (N, 3, H, W) -> (N, channels, H / 8, W / 8)."""

    def __init__(self, channels: int, *, projection: bool) -> None:
        super().__init__()
        narrow = channels // 2
        self.layer1 = ConvNormAct(3, narrow, 7, stride=2)
        self.layer2 = ConvNormAct(narrow, narrow, 3, stride=2)
        self.layer3 = ConvNormAct(narrow, narrow if projection else channels, 3, stride=2)
        self.layer4 = ConvNormAct(narrow, channels, 1) if projection else None

    def forward(self, image: Tensor) -> Tensor:
        x: Tensor = self.layer3(self.layer2(self.layer1(image)))
        return x if self.layer4 is None else self.layer4(x)


class AttentionRefinementModule(nn.Module):
    """Each channel times a gate from its average. (N, Ci, H, W) -> (N, C, H, W).

    The gate (pooling, 1x1 convolution, norm, sigmoid) is the paper's whole module, Fig. 2b. The 3x3
    convolution before it, which takes the backbone's channels to the context path's, is the published code's.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv_layer = ConvNormAct(in_channels, channels, 3)
        self.atten_conv_layer = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            ConvNormAct(channels, channels, 1, norm=PooledBatchNorm, act=None),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_layer(x)
        return x * self.atten_conv_layer(x)


class ContextPath(nn.Module):
    """`image` -> context features (N, channels, ...) at strides 8 and 16."""

    def __init__(self, backbone: nn.Module, channels: int, *, nearest: bool, align_corners: bool) -> None:
        super().__init__()
        self.nearest, self.align_corners = nearest, align_corners
        infos = backbone.features
        self.indices = tuple(pyramid_indices(infos, (8, 16, 32)))
        middle, deep = (infos[index].channels for index in self.indices[1:])
        self.backbone = backbone
        self.arm16 = AttentionRefinementModule(middle, channels)
        self.arm32 = AttentionRefinementModule(deep, channels)
        self.conv_head32 = ConvNormAct(channels, channels, 3)
        self.conv_head16 = ConvNormAct(channels, channels, 3)
        self.gap_conv = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), ConvNormAct(deep, channels, 1, norm=PooledBatchNorm)
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = self.backbone(image)
        x8, x16, x32 = (features[index] for index in self.indices)
        tail = self.arm32(x32) + self.gap_conv(x32)
        at16 = self.conv_head32(self._enlarged(tail, x16))
        middle = self.arm16(x16) + at16
        at8 = self.conv_head16(self._enlarged(middle, x8))
        return at8, at16

    def _enlarged(self, x: Tensor, like: Tensor) -> Tensor:
        if self.nearest:
            return F.interpolate(x, size=like.shape[2:], mode="nearest")
        return resize(x, (like.shape[2], like.shape[3]), align_corners=self.align_corners)


class FeatureFusionModule(nn.Module):
    """Spatial and context features joined, projected, gated, with a residual (Fig. 2c).

    The gate is one 1x1 with a norm (`reduction` 0, most published weights) or, as in the figure, two without,
    over 1 / `reduction` of the channels.
    """

    def __init__(self, in_channels: int, channels: int, *, reduction: int = 0) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(in_channels, channels, 1)
        layers: list[nn.Module] = [ConvNormAct(channels, channels, 1, norm=PooledBatchNorm)]
        if reduction:
            inner = channels // reduction
            layers = [
                ConvNormAct(channels, inner, 1, norm=None, bias=False),
                ConvNormAct(inner, channels, 1, norm=None, bias=False, act=None),
            ]
        self.conv_atten = nn.Sequential(*layers, nn.Sigmoid())

    def forward(self, spatial: Tensor, context: Tensor) -> Tensor:
        x = self.conv1(torch.cat([spatial, context], dim=1))
        gate = self.conv_atten(x.mean(dim=(2, 3), keepdim=True))
        return x * gate + x


class BilateralBackbone(nn.Module):
    """`image` -> fused features at stride 8, context at strides 8 and 16 (for the auxiliary heads)."""

    def __init__(
        self,
        backbone: nn.Module,
        *,
        channels: int,
        projection: bool,
        reduction: int,
        nearest: bool,
        align_corners: bool,
    ) -> None:
        super().__init__()
        self.context_path = ContextPath(backbone, channels, nearest=nearest, align_corners=align_corners)
        self.spatial_path = SpatialPath(channels, projection=projection)
        self.ffm = FeatureFusionModule(2 * channels, 2 * channels, reduction=reduction)
        self.muted: str | None = None

    def forward(self, image: Tensor) -> list[Tensor]:
        at8, at16 = self.context_path(image)
        spatial, context = self.spatial_path(image), at8
        if self.muted == "spatial":
            spatial = torch.zeros_like(spatial)
        elif self.muted == "context":
            context = torch.zeros_like(context)
        return [self.ffm(spatial, context), at8, at16]


def build(
    backbone: nn.Module,
    *,
    num_classes: int,
    align_corners: bool = False,
    context_channels: int | None = None,
    spatial_projection: bool = True,
    gate_reduction: int = 0,
    context_resize: str = "nearest",
    head_channels: int | None = None,
    auxiliary: bool = True,
    auxiliary_channels: int | None = None,
) -> EncoderDecoder:
    """BiSeNet with `backbone` as its context path. `context_channels` defaults to the backbone's at stride
    8, at least 128; the head has twice as many and the auxiliary heads half as many unless told.

    Raises ValueError where the backbone has no features at strides 8, 16 and 32.
    """
    infos = backbone.features
    if context_channels is None:
        own = infos[pyramid_indices(infos, (8, 16, 32))[0]].channels
        context_channels = max(own, MIN_CONTEXT_CHANNELS)
    if context_resize not in ("nearest", "bilinear"):
        raise ValueError(f'context_resize must be "nearest" or "bilinear", not {context_resize!r}')
    trunk = BilateralBackbone(
        backbone,
        channels=context_channels,
        projection=spatial_projection,
        reduction=gate_reduction,
        nearest=context_resize == "nearest",
        align_corners=align_corners,
    )

    def head(in_channels: int, channels: int, index: int) -> FCNHead:
        return FCNHead(
            in_channels,
            channels,
            num_classes,
            index=index,
            num_convs=1,
            concat_input=False,
            align_corners=align_corners,
        )

    narrow = auxiliary_channels or context_channels // 2
    sides = [head(context_channels, narrow, 1), head(context_channels, narrow, 2)] if auxiliary else None
    return EncoderDecoder(
        trunk,
        head(2 * context_channels, head_channels or 2 * context_channels, 0),
        sides,
        num_classes=num_classes,
        align_corners=align_corners,
    )


KEY_MAPS = FIRST


def infer_options(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """What tensor shapes tell."""
    context = shapes["backbone.context_path.arm16.conv_layer.conv.weight"][0]
    found: dict[str, Any] = {
        "context_channels": context,
        "spatial_projection": "backbone.spatial_path.layer4.conv.weight" in shapes,
        "auxiliary": "auxiliary_head.0.conv_seg.weight" in shapes,
    }
    last = shapes.get("backbone.ffm.conv_atten.1.conv.weight")
    if last is not None:
        found["gate_reduction"] = last[0] // last[1]
    head, side = (shapes.get(f"{name}.conv_seg.weight") for name in ("decode_head", "auxiliary_head.0"))
    if head is not None and head[1] != 2 * context:
        found["head_channels"] = head[1]
    if side is not None and side[1] != context // 2:
        found["auxiliary_channels"] = side[1]
    return found


# What a person can look at -------------------------------------------------------------------------------

GATES = ("ffm", "arm16", "arm32")


@dataclass
class CapturedGates:
    """The gate (C,) of each module of GATES, and the features (C, h, w) it multiplies."""

    image_size: tuple[int, int] = (0, 0)
    align_corners: bool = False
    gates: dict[str, np.ndarray] = field(default_factory=dict)
    features: dict[str, Tensor] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        kept = sum(values.nbytes for values in self.gates.values())
        return kept + sum(tensor.nbytes for tensor in self.features.values())

    def gate(self, name: str) -> np.ndarray:
        if name not in GATES:
            raise ValueError(f"gate is {name!r}; gates are {', '.join(GATES)}")
        if name not in self.gates:
            raise ValueError("nothing was kept yet: run the network first")
        return self.gates[name]


class _GateProbe:
    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[CapturedGates]:
        trunk = next(module for module in model.modules() if isinstance(module, BilateralBackbone))
        captured = CapturedGates()
        path = trunk.context_path
        places: dict[str, tuple[nn.Module, nn.Module]] = {
            "ffm": (trunk.ffm.conv_atten, trunk.ffm.conv1),
            "arm16": (path.arm16.atten_conv_layer, path.arm16.conv_layer),
            "arm32": (path.arm32.atten_conv_layer, path.arm32.conv_layer),
        }
        handles = []
        for name, (gate, features) in places.items():

            def keep_gate(_: Any, __: Any, out: Tensor, name: str = name) -> None:
                captured.gates[name] = out[0].detach().flatten().float().cpu().numpy()

            def keep_features(_: Any, __: Any, out: Tensor, name: str = name) -> None:
                captured.features[name] = out[0].detach().clone()

            handles += [
                gate.register_forward_hook(keep_gate),
                features.register_forward_hook(keep_features),
            ]
        try:
            with image_size_of(model, captured):
                yield captured
        finally:
            for handle in handles:
                handle.remove()


class GateProbe(_GateProbe):
    """The gate of each channel, largest first; labels are channel numbers."""

    def map(self, captured: CapturedGates, query: Query, *, gate: str = "ffm", **options: Any) -> ProbeMap:
        values = captured.gate(gate)
        order = np.argsort(-values, kind="stable")
        return ProbeMap(values[order], "vector", labels=tuple(str(index) for index in order))


class ChannelProbe(_GateProbe):
    """The channels with the largest gates, as maps."""

    def map(
        self, captured: CapturedGates, query: Query, *, gate: str = "ffm", count: int = 8, **options: Any
    ) -> ProbeMap:
        values = captured.gate(gate)
        order = np.argsort(-values, kind="stable")[: max(count, 1)]
        features = captured.features[gate]
        grid = grid_of(captured, (features.shape[1], features.shape[2]))
        return ProbeMap(
            features[torch.from_numpy(order.copy()).to(features.device)].float().cpu().numpy(),
            "images",
            stride=grid.stride,
            offset=grid.offset,
            labels=tuple(f"channel {index}, gate {values[index]:.2f}" for index in order),
        )


def gate_probe() -> GateProbe:
    return GateProbe()


def channel_probe() -> ChannelProbe:
    return ChannelProbe()


@contextmanager
def mute_path(model: nn.Module, value: str) -> Iterator[None]:
    """ "both" paths, or without one: "without spatial", "without context"."""
    trunks = [module for module in model.modules() if isinstance(module, BilateralBackbone)]
    before = [trunk.muted for trunk in trunks]
    for trunk in trunks:
        trunk.muted = None if value == "both" else value.removeprefix("without ")
    try:
        yield
    finally:
        for trunk, old in zip(trunks, before, strict=True):
            trunk.muted = old
