"""Global context network: one attention map for all cells.

Y. Cao, J. Xu, S. Lin, F. Wei, H. Hu: "GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond",
ICCV workshops 2019, arXiv 1904.11492. Section 3.4: context modelling (attention pooling or average),
transform (bottleneck with layer norm), fusion (add, or multiply by a sigmoid). Fig. 4 gives the presets:
simplified Non-local (attention, one 1x1, add), SE (average, bottleneck without norm, multiply), GC
(attention, bottleneck with norm, add).

The paper puts blocks into the residual blocks of stages 3 to 5 (`placement="blocks"`, ratio 1/16); published
segmentation weights have one in the head, ratio 1/4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from segstudio.plugin_api import ProbeMap, Query
from segstudio_zoo.layers.attention_cost import attention_cost
from segstudio_zoo.layers.dense_attention import grid_of, image_size_of
from segstudio_zoo.layers.fcn_head import FCNHead, auxiliary_fcn
from segstudio_zoo.layers.residual import BasicBlock, Bottleneck
from segstudio_zoo.layers.segmentor import EncoderDecoder


class Preset(NamedTuple):
    """Context modelling, transform and fusion of Fig. 4."""

    pooling: str
    transform: str
    fusion: tuple[str, ...]


PRESETS = {
    "gc": Preset("attention", "bottleneck", ("add",)),
    "snl": Preset("attention", "linear", ("add",)),
    "se": Preset("average", "plain_bottleneck", ("multiply",)),
    "gc_multiply": Preset("attention", "bottleneck", ("multiply",)),
    "gc_add_multiply": Preset("attention", "bottleneck", ("multiply", "add")),
}


class ContextBlock(nn.Module):
    """(N, C, H, W) -> the same shape. The context is one vector (N, C, 1, 1) for the whole picture."""

    def __init__(self, channels: int, *, ratio: float, preset: Preset) -> None:
        super().__init__()
        inner = max(int(channels * ratio), 1)
        self.pooling = preset.pooling
        self.active = True
        if preset.pooling == "attention":
            self.conv_mask = nn.Conv2d(channels, 1, 1)
        self.channel_add_conv = _transform(channels, inner, preset) if "add" in preset.fusion else None
        self.channel_mul_conv = _transform(channels, inner, preset) if "multiply" in preset.fusion else None
        for transform in (self.channel_add_conv, self.channel_mul_conv):
            if transform is not None:
                nn.init.zeros_(transform[-1].weight)  # starts without context, as W_z of Non-local does
                nn.init.zeros_(transform[-1].bias)

    def weights(self, x: Tensor) -> Tensor:
        """The global map (N, H * W); rows sum to 1. Eq. 3: softmax over the cells of W_k x_j."""
        cells = x.shape[2] * x.shape[3]
        if self.pooling == "average":
            return x.new_full((x.shape[0], cells), 1 / cells)
        return self.conv_mask(x).flatten(1).softmax(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        if not self.active:
            return x
        context = (x.flatten(2) @ self.weights(x)[:, :, None])[..., None]
        out = x
        if self.channel_mul_conv is not None:
            out = out * torch.sigmoid(self.channel_mul_conv(context))
        if self.channel_add_conv is not None:
            out = out + self.channel_add_conv(context)
        return out


def _transform(channels: int, inner: int, preset: Preset) -> nn.Sequential:
    if preset.transform == "linear":
        return nn.Sequential(nn.Conv2d(channels, channels, 1))
    norm = nn.LayerNorm([inner, 1, 1]) if preset.transform == "bottleneck" else nn.Identity()
    return nn.Sequential(
        nn.Conv2d(channels, inner, 1), norm, nn.ReLU(inplace=True), nn.Conv2d(inner, channels, 1)
    )


class GCHead(FCNHead):
    """Convolution, context block, convolution, joined with the input once more."""

    def __init__(
        self, in_channels: int, channels: int, num_classes: int, *, block: ContextBlock, **options: Any
    ) -> None:
        super().__init__(in_channels, channels, num_classes, num_convs=2, **options)
        self.gc_block = block

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        x = features[self.index]
        first, second = self.convs  # type: ignore[misc]
        out = second(self.gc_block(first(x)))
        assert self.conv_cat is not None
        return self.classify(self.conv_cat(torch.cat([x, out], dim=1)))


class ResidualWithContext(nn.Module):
    """A residual block with a context block between its last norm and the sum; key names stay."""

    def __init__(self, block: BasicBlock | Bottleneck, context: ContextBlock) -> None:
        super().__init__()
        for name, child in block.named_children():
            self.add_module(name, child)
        self.steps = 3 if isinstance(block, Bottleneck) else 2
        self.shortcut = block.downsample is not None
        self.context_block = context

    def forward(self, x: Tensor) -> Tensor:
        identity = self.get_submodule("downsample")(x) if self.shortcut else x
        out = x
        for step in range(1, self.steps + 1):
            out = self.get_submodule(f"bn{step}")(self.get_submodule(f"conv{step}")(out))
            if step < self.steps:
                out = torch.relu(out)
        return torch.relu(self.context_block(out) + identity)


def put_into_blocks(backbone: nn.Module, *, ratio: float, preset: Preset) -> None:
    """Gives every residual block of stages 3 to 5 (layers 2 to 4) its context block.

    Raises ValueError where the backbone is no residual network with such layers.
    """
    for number in (2, 3, 4):
        layer = getattr(backbone, f"layer{number}", None)
        blocks = list(layer) if isinstance(layer, nn.Sequential) else []
        if not blocks or not all(isinstance(block, BasicBlock | Bottleneck) for block in blocks):
            raise ValueError("context blocks go into the residual blocks of a ResNet; this backbone has none")
        for index, block in enumerate(blocks):
            last = block.bn3 if isinstance(block, Bottleneck) else block.bn2
            context = ContextBlock(last.num_features, ratio=ratio, preset=preset)
            layer[index] = ResidualWithContext(block, context)


def build(
    backbone: nn.Module,
    *,
    num_classes: int,
    align_corners: bool = False,
    preset: str = "gc",
    placement: str = "head",
    ratio: float | None = None,
    channels: int = 512,
) -> EncoderDecoder:
    """`preset` is a key of PRESETS; `placement` "head" (published weights) or "blocks" (the paper); `ratio`
    defaults to 1/4 in the head and 1/16 in blocks. Auxiliary FCN head, 0.4."""
    infos = backbone.features
    chosen = PRESETS[preset]
    head: FCNHead
    if placement == "blocks":
        put_into_blocks(backbone, ratio=1 / 16 if ratio is None else ratio, preset=chosen)
        head = FCNHead(infos[-1].channels, channels, num_classes, align_corners=align_corners)
    else:
        block = ContextBlock(channels, ratio=0.25 if ratio is None else ratio, preset=chosen)
        head = GCHead(infos[-1].channels, channels, num_classes, block=block, align_corners=align_corners)
    auxiliary = auxiliary_fcn(infos, num_classes, align_corners=align_corners)
    return EncoderDecoder(backbone, head, auxiliary, num_classes=num_classes, align_corners=align_corners)


def infer_options(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """What tensor shapes tell."""
    key = next(k for k in shapes if ".channel_add_conv." in k or ".channel_mul_conv." in k)
    root = key[: key.index(".channel_") + 1]
    adds = f"{root}channel_add_conv.0.weight" in shapes
    multiplies = f"{root}channel_mul_conv.0.weight" in shapes
    transform = f"{root}channel_{'add' if adds else 'mul'}_conv."
    inner, channels = shapes[f"{transform}0.weight"][:2]
    preset = "se"
    if f"{root}conv_mask.weight" in shapes:
        preset = ("gc_add_multiply" if adds else "gc_multiply") if multiplies else "gc"
        if f"{transform}3.weight" not in shapes:
            preset = "snl"
    found: dict[str, Any] = {"preset": preset, "channels": shapes["decode_head.conv_seg.weight"][1]}
    found["placement"] = "head" if root.startswith("decode_head.") else "blocks"
    if preset != "snl":
        found["ratio"] = inner / channels
    return found


# What a person can look at -------------------------------------------------------------------------------


def _blocks(model: nn.Module) -> dict[str, ContextBlock]:
    return {name: module for name, module in model.named_modules() if isinstance(module, ContextBlock)}


@dataclass
class CapturedMaps:
    """The global map (h, w) float32 of each context block, by module name, in order of depth."""

    image_size: tuple[int, int] = (0, 0)
    align_corners: bool = False
    maps: dict[str, np.ndarray] = field(default_factory=dict)
    element_size: int = 4

    @property
    def nbytes(self) -> int:
        return sum(values.nbytes for values in self.maps.values())


class GlobalMapProbe:
    """The one map that serves every query: what the paper found Non-local's maps to be nearly."""

    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[CapturedMaps]:
        captured = CapturedMaps()
        handles = []
        for name, block in _blocks(model).items():

            def keep(_: Any, inputs: tuple[Tensor, ...], name: str = name, block: Any = block) -> None:
                x = inputs[0][:1].detach()
                captured.element_size = x.element_size()
                captured.maps[name] = block.weights(x).reshape(x.shape[2:]).float().cpu().numpy()

            handles.append(block.register_forward_pre_hook(keep))
        try:
            with image_size_of(model, captured):
                yield captured
        finally:
            for handle in handles:
                handle.remove()

    def map(self, captured: CapturedMaps, query: Query, *, block: int = -1, **options: Any) -> ProbeMap:
        """`block` counts the context blocks from the image; -1 is the last. The query does not matter."""
        names = list(captured.maps)
        if not names:
            raise ValueError("nothing was kept yet: run the network first")
        if not -len(names) <= block < len(names):
            raise ValueError(f"this network has {len(names)} context blocks; {block} is none of them")
        values = captured.maps[names[block]]
        grid = grid_of(captured, (values.shape[0], values.shape[1]))
        return ProbeMap(
            values=values,
            stride=grid.stride,
            offset=grid.offset,
            rows_sum_to_one=True,
            notes=("the same map for every pixel",),
            extras={"blocks": names, **attention_cost(values.size, values.size, captured.element_size)},
        )


def global_map_probe() -> GlobalMapProbe:
    return GlobalMapProbe()


@contextmanager
def set_pooling(model: nn.Module, value: str) -> Iterator[None]:
    """ "as built", or "average": every cell weighs the same, as in SE.

    Raises ValueError where it averages as built.
    """
    blocks = _blocks(model).values()
    before = [block.pooling for block in blocks]
    if value == "average" and set(before) == {"average"}:
        raise ValueError("this network averages over all cells as it was built")
    if value == "average":
        for block in blocks:
            block.pooling = value
    try:
        yield
    finally:
        for block, old in zip(blocks, before, strict=True):
            block.pooling = old


@contextmanager
def block_off(model: nn.Module, value: bool) -> Iterator[None]:
    """False: no context is added or multiplied."""
    blocks = _blocks(model).values()
    before = [block.active for block in blocks]
    for block in blocks:
        block.active = bool(value)
    try:
        yield
    finally:
        for block, old in zip(blocks, before, strict=True):
            block.active = old
