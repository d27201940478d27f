"""Asymmetric non-local network: cells look at a few pooled anchors instead of at all cells.

Z. Zhu, M. Xu, S. Bai, T. Huang, X. Bai: "Asymmetric Non-local Neural Networks for Semantic Segmentation",
ICCV 2019, arXiv 1908.07678. Section 3.2: keys and values (not queries) are sampled by spatial pyramid
pooling, S = sum of n^2 = 110 anchors for n = 1, 3, 6, 8. AFNB (section 3.3) asks with stage 5 and answers
from stage 4; APNB answers from its own input and shares the key and query projections, which is why published
weights hold one tensor under two names. The authors' code divides scores by the root of the channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segstudio.plugin_api import ProbeMap, Query
from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.key_transforms import fold_biases
from segstudio_zoo.layers.conv import ConvNormAct
from segstudio_zoo.layers.dense_attention import (
    AttentionModule,
    DenseCapture,
    attend,
    capturing,
    grid_of,
)
from segstudio_zoo.layers.fcn_head import auxiliary_fcn
from segstudio_zoo.layers.openseg_layout import OPENSEG_OPTIONS, OPENSEG_STEM, OPENSEG_TRUNK, conv_norm_relu
from segstudio_zoo.layers.segmentor import EncoderDecoder, SegmentationHead, auxiliary_index

PYRAMID = (1, 3, 6, 8)


def pyramid_sample(x: Tensor, pyramid: Sequence[int], *, largest: bool = False) -> Tensor:
    """(N, C, H, W) -> (N, C, S), S = sum of n^2: pooled anchors, level after level, in reading order."""
    pool = F.adaptive_max_pool2d if largest else F.adaptive_avg_pool2d
    return torch.cat([pool(x, n).flatten(2) for n in pyramid], dim=2)


def anchor_boxes(pyramid: Sequence[int], height: int, width: int) -> np.ndarray:
    """Cells that each anchor pools, (S, 4) rows of y0, x0, y1, x1, in the order of sampling."""
    boxes = []
    for n in pyramid:
        for row in range(n):
            for column in range(n):
                y0, y1 = row * height // n, -(-(row + 1) * height // n)
                x0, x1 = column * width // n, -(-(column + 1) * width // n)
                boxes.append((y0, x0, y1, x1))
    return np.array(boxes, np.float32)


class AsymmetricAttention(AttentionModule):
    """Query map (N, Cq, H, W) and source map (N, Cs, H', W') -> context (N, out_channels, H, W)."""

    def __init__(
        self,
        query_channels: int,
        source_channels: int,
        channels: int,
        out_channels: int,
        *,
        share: bool,
        pyramid: Sequence[int],
        sampling: str,
    ) -> None:
        super().__init__()
        self.pyramid = tuple(pyramid)
        self.sampling = sampling
        self.key_project = ConvNormAct(source_channels, channels, 1)
        self.query_project = self.key_project if share else ConvNormAct(query_channels, channels, 1)
        self.value_project = nn.Conv2d(source_channels, channels, 1)
        self.out_project = nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        height, width = x.shape[2:]
        query = self.query_project(x).flatten(2).transpose(1, 2)
        key, value, places = self._sample(self.key_project(source), self.value_project(source))
        scale = query.shape[2] ** -0.5
        self.remember(
            query,
            key,
            scale=scale,
            query_grid=(height, width),
            pyramid=self.pyramid,
            places=places,
            source_grid=(source.shape[2], source.shape[3]),
        )
        context = attend(query, key, value, scale=scale)
        return self.out_project(context.transpose(1, 2).reshape(x.shape[0], -1, height, width))

    def _sample(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Maps -> (N, S, C) keys and values. "random" takes S cells as they are (Table 4 of the paper), other
        ones in each training step and always the same ones outside training."""
        if self.sampling == "random":
            count = sum(n * n for n in self.pyramid)
            generator = None if self.training else torch.Generator().manual_seed(0)
            places = torch.randint(key.shape[2] * key.shape[3], (count,), generator=generator).to(key.device)
            sampled = (m.flatten(2)[:, :, places].transpose(1, 2) for m in (key, value))
            return next(sampled), next(sampled), places
        largest = self.sampling == "max"
        pooled = (pyramid_sample(m, self.pyramid, largest=largest).transpose(1, 2) for m in (key, value))
        return next(pooled), next(pooled), None


class AFNB(nn.Module):
    """Asymmetric fusion non-local block (Fig. 4, left): high-level cells ask, low-level anchors answer."""

    def __init__(self, low: int, high: int, channels: int, *, pyramid: Sequence[int], sampling: str) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            [AsymmetricAttention(high, low, channels, high, share=False, pyramid=pyramid, sampling=sampling)]
        )
        self.bottleneck = ConvNormAct(2 * high, high, 1, act=None)
        self.active = True

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        if not self.active:
            return high
        context = self.stages[0](high, low)
        out: Tensor = self.bottleneck(torch.cat([context, high], dim=1))
        return out


class APNB(nn.Module):
    """Asymmetric pyramid non-local block (Fig. 4, right): cells ask anchors of the same map."""

    def __init__(self, width: int, channels: int, *, pyramid: Sequence[int], sampling: str) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            [
                AsymmetricAttention(
                    width, width, channels, width, share=True, pyramid=pyramid, sampling=sampling
                )
            ]
        )
        self.bottleneck = ConvNormAct(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        context = self.stages[0](x, x)
        out: Tensor = self.bottleneck(torch.cat([context, x], dim=1))
        return out


class ANNHead(SegmentationHead):
    """AFNB on stages 4 and 5, a 3x3 convolution, APNB, classifier (Fig. 2)."""

    def __init__(
        self,
        in_channels: tuple[int, int],
        channels: int,
        num_classes: int,
        *,
        project_channels: int,
        pyramid: Sequence[int],
        sampling: str,
        fusion: bool,
        indices: tuple[int, int],
        align_corners: bool,
    ) -> None:
        super().__init__(channels, num_classes, align_corners=align_corners)
        low, high = in_channels
        self.indices = indices
        self.fusion = (
            AFNB(low, high, project_channels, pyramid=pyramid, sampling=sampling) if fusion else None
        )
        self.bottleneck = ConvNormAct(high, channels, 3)
        self.context = APNB(channels, project_channels, pyramid=pyramid, sampling=sampling)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        low, high = (features[index] for index in self.indices)
        x = high if self.fusion is None else self.fusion(low, high)
        return self.classify(self.context(self.bottleneck(self.dropout(x))))


def build(
    backbone: nn.Module,
    *,
    num_classes: int,
    align_corners: bool = False,
    pyramid: Sequence[int] = PYRAMID,
    sampling: str = "average",
    fusion: bool = True,
    project_channels: int = 256,
    channels: int = 512,
    auxiliary_channels: int = 256,
) -> EncoderDecoder:
    """ANN on the last two features of `backbone`, auxiliary FCN head (0.4) on the one before the last.

    Raises ValueError where the backbone has one feature only and `fusion` is wanted.
    """
    infos = backbone.features
    index = auxiliary_index(infos)
    if fusion and len(infos) < 2:
        raise ValueError("the fusion block needs two features; this backbone has one. Choose fusion=False")
    head = ANNHead(
        (infos[index].channels, infos[-1].channels),
        channels,
        num_classes,
        project_channels=project_channels,
        pyramid=pyramid,
        sampling=sampling,
        fusion=fusion,
        indices=(index, len(infos) - 1),
        align_corners=align_corners,
    )
    auxiliary = auxiliary_fcn(infos, num_classes, channels=auxiliary_channels, align_corners=align_corners)
    return EncoderDecoder(backbone, head, auxiliary, num_classes=num_classes, align_corners=align_corners)


def _attention(theirs: str, ours: str) -> tuple[tuple[str, str | None], ...]:
    theirs, ours = rf"{theirs}\.stages\.0\.", f"{ours}.stages.0."
    return (
        *conv_norm_relu(rf"{theirs}f_key", f"{ours}key_project"),
        *conv_norm_relu(rf"{theirs}f_query", f"{ours}query_project"),
        (rf"{theirs}f_value\.(.+)", rf"{ours}value_project.\1"),
        (rf"{theirs}W\.(.+)", rf"{ours}out_project.\1"),
    )


KEY_MAPS = (
    KeyMap(
        layout="authors",
        telltale=(r"fusion\.stages\.0\.f_key\.0\.weight", OPENSEG_STEM),
        rules=(
            *OPENSEG_TRUNK,
            *_attention("fusion", "decode_head.fusion"),
            (r"fusion\.conv_bn_dropout\.0\.(.+)", r"decode_head.fusion.bottleneck.conv.\1"),
            (r"fusion\.conv_bn_dropout\.1\.(.+)", r"decode_head.fusion.bottleneck.bn.\1"),
            *_attention(r"context\.2", "decode_head.context"),
            *conv_norm_relu(r"context\.2\.conv_bn_dropout", "decode_head.context.bottleneck"),
            *conv_norm_relu("context", "decode_head.bottleneck"),
            (r"cls\.(.+)", r"decode_head.conv_seg.\1"),
            *conv_norm_relu("dsn", "auxiliary_head.convs.0"),
            (r"dsn\.3\.(.+)", r"auxiliary_head.conv_seg.\1"),
        ),
        options=OPENSEG_OPTIONS,
        transform=fold_biases,
    ),
)


def infer_options(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """What tensor shapes tell; pyramid and sampling have no weights."""
    channels, project_channels = shapes["decode_head.context.stages.0.out_project.weight"][:2]
    fusion = "decode_head.fusion.bottleneck.conv.weight" in shapes
    found = {"channels": channels, "project_channels": project_channels, "fusion": fusion}
    side = shapes.get("auxiliary_head.conv_seg.weight")
    return found if side is None else {**found, "auxiliary_channels": side[1]}


# What a person can look at -------------------------------------------------------------------------------


def _attentions(model: nn.Module) -> list[AsymmetricAttention]:
    """APNB's, then AFNB's where there is one."""
    head: Any = model.get_submodule("decode_head")
    blocks = [head.context, *([head.fusion] if head.fusion is not None else [])]
    return [block.stages[0] for block in blocks]


class AnchorProbe:
    """The anchors a pixel looks at, as boxes in the picture with their weights."""

    def attach(self, model: nn.Module) -> AbstractContextManager[DenseCapture]:
        return capturing(model, _attentions(model))

    def map(
        self, captured: DenseCapture, query: Query, *, block: str = "APNB", level: int = 0, **options: Any
    ) -> ProbeMap:
        """`block` is "APNB" or "AFNB"; `level` is one size of the pyramid, or 0 for all of them."""
        record = captured.record(0 if block == "APNB" else 1)
        cell = grid_of(captured, record.query_grid).cell_of(query)
        weights = record.row(cell[0] * record.query_grid[1] + cell[1]).float().cpu().numpy()
        pyramid, (height, width) = record.extra["pyramid"], record.extra["source_grid"]
        places = record.extra["places"]
        if places is None:
            boxes = anchor_boxes(pyramid, height, width)
        else:
            row, column = np.divmod(places.cpu().numpy(), width)
            boxes = np.stack([row, column, row + 1, column + 1], axis=1).astype(np.float32)
        grid = grid_of(captured, (height, width))
        scale, shift = (np.array(pair * 2, np.float32) for pair in (grid.stride, grid.offset))
        chosen = np.ones(len(weights), bool)
        if level:
            if level not in pyramid or places is not None:
                raise ValueError(f"there is no level {level} in the pyramid {pyramid}")
            chosen = np.repeat(np.array(pyramid) == level, np.array(pyramid) ** 2)
        values = np.concatenate([boxes * scale + shift, weights[:, None]], axis=1)[chosen]
        mass = (
            {str(n): float(part.sum()) for n, part in _by_level(weights, pyramid)} if places is None else {}
        )
        return ProbeMap(
            values=values.astype(np.float32),
            kind="regions",
            rows_sum_to_one=level == 0,
            query_cell=cell,
            extras={"mass_by_level": mass, **record.cost},
        )


def _by_level(weights: np.ndarray, pyramid: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    ends = np.cumsum([n * n for n in pyramid])
    yield from zip(pyramid, np.split(weights, ends[:-1]), strict=True)


def anchor_probe() -> AnchorProbe:
    return AnchorProbe()


@contextmanager
def set_pyramid(model: nn.Module, value: str) -> Iterator[None]:
    """Other anchors with the same weights: "1 3 6 8", "1", ...; pooling has no weights of its own."""
    modules = _attentions(model)
    before = [module.pyramid for module in modules]
    for module in modules:
        module.pyramid = tuple(int(n) for n in value.split())
    try:
        yield
    finally:
        for module, old in zip(modules, before, strict=True):
            module.pyramid = old


@contextmanager
def set_sampling(model: nn.Module, value: str) -> Iterator[None]:
    """ "average", "max" or "random" anchors."""
    modules = _attentions(model)
    before = [module.sampling for module in modules]
    for module in modules:
        module.sampling = value
    try:
        yield
    finally:
        for module, old in zip(modules, before, strict=True):
            module.sampling = old


@contextmanager
def fusion_off(model: nn.Module, value: bool) -> Iterator[None]:
    """False: stage 5 goes past AFNB unchanged."""
    blocks = [module for module in model.modules() if isinstance(module, AFNB)]
    before = [block.active for block in blocks]
    for block in blocks:
        block.active = bool(value)
    try:
        yield
    finally:
        for block, old in zip(blocks, before, strict=True):
            block.active = old
