"""MSCAN, the convolutional encoder of SegNeXt.

Guo, Lu, Hou, Liu, Cheng, Hu, "SegNeXt: Rethinking Convolutional Attention Design for Semantic Segmentation",
NeurIPS 2022, arXiv 2209.08575, section 3.1 and figure 2: multi-scale convolutional attention (MSCA,
equations 1 and 2) sums a 5x5 depthwise convolution and three pairs of depthwise strips (1x7, 1x11, 1x21
with their transposes), mixes channels by a 1x1 and multiplies the result onto the input.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from segstudio.plugin_api import FeatureInfo, ProbeMap, Query
from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.layers.channel_groups import ChannelGroups
from segstudio_zoo.layers.drop_path import DropPath, linear_rates
from segstudio_zoo.layers.joined_output import conv_plus, conv_times
from segstudio_zoo.layers.tokens import to_map, to_tokens

SIZES: dict[str, tuple[tuple[int, int, int, int], tuple[int, int, int, int]]] = {
    "mscan-t": ((32, 64, 160, 256), (3, 3, 5, 2)),
    "mscan-s": ((64, 128, 320, 512), (2, 2, 4, 2)),
    "mscan-b": ((64, 128, 320, 512), (3, 3, 12, 3)),
    "mscan-l": ((64, 128, 320, 512), (3, 5, 27, 3)),
}
"""Channels and blocks of the stages (table 2)."""

EXPANSIONS = (8, 8, 4, 4)
STRIPS = (7, 11, 21)
BRANCHES = ("5x5", *(f"1x{n}" for n in STRIPS))


class MultiScaleAttention(nn.Module):
    """Att = Conv1x1(sum_i Scale_i(DWConv(F))), Out = Att * F (equations 1 and 2).

    `active` (branches summed) and `product` may be changed at inference; see `branch_switch`.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        for place, length in enumerate(STRIPS):
            half = length // 2
            row = nn.Conv2d(channels, channels, (1, length), padding=(0, half), groups=channels)
            column = nn.Conv2d(channels, channels, (length, 1), padding=(half, 0), groups=channels)
            self.add_module(f"conv{place}_1", row)
            self.add_module(f"conv{place}_2", column)
        self.conv3 = nn.Conv2d(channels, channels, 1)
        self.active: tuple[str, ...] = BRANCHES
        self.product = True
        self.recorders: list[list[Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        first = self.conv0(x)
        if self.recorders:
            total = self._recorded_sum(first)
        else:
            total = first if BRANCHES[0] in self.active else None
            for row, column in self._active_strips():
                rows = row(first)
                total = column(rows) if total is None else conv_plus(column, rows, total)
        assert total is not None
        return conv_times(self.conv3, total, x) if self.product else self.conv3(total)

    def _recorded_sum(self, first: Tensor) -> Tensor:
        responses = [first] if BRANCHES[0] in self.active else []
        responses += [column(row(first)) for row, column in self._active_strips()]
        for kept in self.recorders:
            kept[:] = [response[0].detach().abs().mean(0) for response in responses]
        return sum(responses[1:], responses[0])

    def _active_strips(self) -> Iterator[tuple[nn.Module, nn.Module]]:
        """The row and column convolution of each active pair."""
        for place, name in enumerate(BRANCHES[1:]):
            if name in self.active:
                yield self.get_submodule(f"conv{place}_1"), self.get_submodule(f"conv{place}_2")


class SpatialAttention(nn.Module):
    """1x1, GELU, MSCA, 1x1, with a residual around all four."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj_1 = nn.Conv2d(channels, channels, 1)
        self.activation = nn.GELU()
        self.spatial_gating_unit = MultiScaleAttention(channels)
        self.proj_2 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.proj_2(self.gated(x))

    def gated(self, x: Tensor) -> Tensor:
        """All but the last 1x1 and the residual."""
        gated: Tensor = self.spatial_gating_unit(self.activation(self.proj_1(x)))
        return gated


class FeedForward(nn.Module):
    """1x1, 3x3 depthwise, GELU, 1x1."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.dwconv = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Conv2d(hidden, channels, 1)
        self.groups: ChannelGroups | None = None

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.hidden(x))

    def plus(self, x: Tensor) -> Tensor:
        """x + forward(x)."""
        if self.groups is not None:
            return self.groups(x, x)
        return conv_plus(self.fc2, self.hidden(x), x)

    def in_groups(self) -> None:
        """For inference, and final: the convolutions must not change afterwards."""
        if ChannelGroups.suits(self.fc1):
            self.groups = ChannelGroups(self.fc1, self.dwconv, self.act, self.fc2)

    def hidden(self, x: Tensor) -> Tensor:
        """All but the last 1x1."""
        hidden: Tensor = self.act(self.dwconv(self.fc1(x)))
        return hidden


class Block(nn.Module):
    """Two residual branches with batch norm and layer scale (figure 2a)."""

    def __init__(self, channels: int, expansion: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.attn = SpatialAttention(channels)
        self.norm2 = nn.BatchNorm2d(channels)
        self.mlp = FeedForward(channels, channels * expansion)
        self.layer_scale_1 = nn.Parameter(torch.full((channels,), 1e-2))
        self.layer_scale_2 = nn.Parameter(torch.full((channels,), 1e-2))
        self.drop_path = DropPath(drop_path)
        self.kept_share: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.kept_share is not None:
            x = conv_plus(self.attn.proj_2, self.attn.gated(x), x * self.kept_share)
            return self.mlp.plus(x)
        x = x + self.drop_path(self.layer_scale_1[:, None, None] * self.attn(self.norm1(x)))
        return x + self.drop_path(self.layer_scale_2[:, None, None] * self.mlp(self.norm2(x)))

    @torch.no_grad()
    def split_joins(self) -> None:
        """For inference: both norms and both layer scales into the 1x1 convolutions beside them.

        With norm1(x) = a x + b and layer scale s, and the residual inside `attn`,
        x + s (norm1(x) + proj_2(...)) = (1 + s a) x + (s proj_2(...) + s b), and 1 + s a is `kept_share`.
        """
        if not isinstance(self.norm1, nn.BatchNorm2d) or self.norm1.running_mean is None or self.training:
            return
        scale, shift = _affine(self.norm1)
        _fold_before(scale, shift, self.attn.proj_1)
        _fold_behind(self.layer_scale_1, shift, self.attn.proj_2)
        _fold_before(*_affine(self.norm2), self.mlp.fc1)
        _fold_behind(self.layer_scale_2, torch.zeros_like(shift), self.mlp.fc2)
        self.mlp.in_groups()
        kept = 1 + self.layer_scale_1.double() * scale
        self.norm1, self.norm2 = nn.Identity(), nn.Identity()
        del self.kept_share
        self.register_buffer("kept_share", kept.float()[:, None, None], persistent=False)


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """a and b (C,) in double precision, with norm(x) = a x + b in evaluation."""
    scale = norm.weight.double() * (norm.running_var.double() + norm.eps).rsqrt()
    return scale, norm.bias.double() - norm.running_mean.double() * scale


def _fold_before(scale: Tensor, shift: Tensor, conv: nn.Conv2d) -> None:
    """conv(scale x + shift) as a convolution of x; exact, since a 1x1 pads nothing."""
    weight = conv.weight.double()
    conv.bias.copy_(conv.bias.double() + weight.flatten(1) @ shift)
    conv.weight.copy_(weight * scale[:, None, None])


def _fold_behind(scale: Tensor, shift: Tensor, conv: nn.Conv2d) -> None:
    """scale (conv(x) + shift) as a convolution of x."""
    conv.bias.copy_(scale.double() * (conv.bias.double() + shift))
    conv.weight.copy_(conv.weight.double() * scale.double()[:, None, None, None])


class Stem(nn.Module):
    """Two 3x3 convolutions of stride 2 with batch norm, GELU between them."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(
            nn.Conv2d(in_channels, channels // 2, 3, 2, 1),
            nn.BatchNorm2d(channels // 2),
            nn.GELU(),
            nn.Conv2d(channels // 2, channels, 3, 2, 1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class OverlapPatchEmbedding(nn.Module):
    """3x3 convolution of stride 2 and batch norm."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, channels, 3, 2, 1)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.proj(x))


class MSCAN(nn.Module):
    """Four stages at strides 4, 8, 16, 32; keys `patch_embed1`, `block1`, `norm1`, ..., `norm4`."""

    num_depths = 4

    def __init__(
        self, channels: Sequence[int], depths: Sequence[int], *, in_channels: int, drop_path_rate: float
    ) -> None:
        super().__init__()
        self.features = tuple(FeatureInfo(c, 4 * 2**stage) for stage, c in enumerate(channels))
        rates = iter(linear_rates(drop_path_rate, sum(depths)))
        for stage, (width, depth) in enumerate(zip(channels, depths, strict=True)):
            embed: nn.Module = Stem(in_channels, width)
            if stage:
                embed = OverlapPatchEmbedding(channels[stage - 1], width)
            self.add_module(f"patch_embed{stage + 1}", embed)
            blocks = nn.ModuleList(Block(width, EXPANSIONS[stage], next(rates)) for _ in range(depth))
            self.add_module(f"block{stage + 1}", blocks)
            self.add_module(f"norm{stage + 1}", nn.LayerNorm(width))

    def forward(self, image: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> four maps (N, C_i, H / 4 / 2^i, W / 4 / 2^i)."""
        maps = []
        x = image
        for stage in range(1, len(self.features) + 1):
            x = self.get_submodule(f"patch_embed{stage}")(x)
            for block in self.get_submodule(f"block{stage}").children():
                x = block(x)
            size = (x.shape[2], x.shape[3])
            x = to_map(self.get_submodule(f"norm{stage}")(to_tokens(x)), size)
            maps.append(x)
        return maps

    def depth_of(self, key: str) -> int:
        """The stage of a parameter, counted from 0."""
        return int(key.split(".")[0][-1]) - 1

    def gates(self) -> Iterator[tuple[int, int, MultiScaleAttention]]:
        """Stage and block, counted from 1, and the attention there, in order of depth."""
        for stage in range(1, len(self.features) + 1):
            for place, block in enumerate(self.get_submodule(f"block{stage}").children(), start=1):
                yield stage, place, block.attn.spatial_gating_unit


def build(
    variant: str, *, output_stride: int | None = None, in_channels: int = 3, drop_path_rate: float = 0.1
) -> MSCAN:
    """One of `SIZES`. Raises ValueError for an output stride other than 32."""
    if output_stride not in (None, 32):
        raise ValueError(f"MSCAN has features at strides 4, 8, 16 and 32; {output_stride} cannot be last")
    channels, depths = SIZES[variant]
    return MSCAN(channels, depths, in_channels=in_channels, drop_path_rate=drop_path_rate)


KEY_MAPS = (
    KeyMap(
        layout="authors",
        telltale=(r"block1\.0\.mlp\.dwconv\.dwconv\.weight",),
        rules=(
            (r"(block\d\.\d+\.mlp\.dwconv)\.dwconv\.(weight|bias)", r"\1.\2"),
            (r"head\.(weight|bias)", None),
            (r"(.+)", r"\1"),
        ),
    ),
)
"""The authors' repository keeps the depthwise convolution of the MLP one name deeper."""


# What a person can look at -------------------------------------------------------------------------------


def _encoder(model: nn.Module) -> MSCAN:
    for module in model.modules():
        if isinstance(module, MSCAN):
            return module
    raise ValueError("This model has no MSCAN.")


@dataclass
class CapturedBranches:
    """Mean magnitude over channels (h, w) of each branch, by (stage, block)."""

    responses: dict[tuple[int, int], list[Tensor]] = field(default_factory=dict)
    names: dict[tuple[int, int], tuple[str, ...]] = field(default_factory=dict)
    strides: Mapping[int, int] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        return sum(x.nbytes for maps in self.responses.values() for x in maps)


class BranchProbe:
    """The response of each strip branch of one MSCA, as images."""

    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[CapturedBranches]:
        """While open, a run of `model` fills what is returned."""
        encoder = _encoder(model)
        gates = list(encoder.gates())
        captured = CapturedBranches(strides={i + 1: f.stride for i, f in enumerate(encoder.features)})
        try:
            for stage, place, gate in gates:
                captured.names[stage, place] = gate.active
                gate.recorders.append(captured.responses.setdefault((stage, place), []))
            yield captured
        finally:
            for stage, place, gate in gates:
                kept = captured.responses[stage, place]
                gate.recorders[:] = [other for other in gate.recorders if other is not kept]

    def map(self, captured: CapturedBranches, query: Query, *, stage: int = 2, block: int = 0) -> ProbeMap:
        """(branches, h, w): mean |response| over channels. `block` counts from 1, 0 is the stage's last."""
        blocks = [place for s, place in captured.responses if s == stage]
        if not blocks or not 0 <= block <= len(blocks):
            raise ValueError(f"There is no block {block} in stage {stage}.")
        key = (stage, blocks[block - 1])
        maps = captured.responses[key]
        if not maps:
            raise ValueError("Nothing is kept yet: run the model on the picture first.")
        side = float(captured.strides[stage])
        values = torch.stack(maps).float().cpu().numpy()
        names = tuple(name for name in BRANCHES if name in captured.names[key])
        cell = (
            min(int(query.y / side), values.shape[1] - 1),
            min(int(query.x / side), values.shape[2] - 1),
        )
        at_pixel = {name: float(values[i, cell[0], cell[1]]) for i, name in enumerate(names)}
        return ProbeMap(
            values, "images", (side, side), labels=names, query_cell=cell, extras={"at_pixel": at_pixel}
        )


def branch_probe() -> BranchProbe:
    """The probe, for the catalog to name."""
    return BranchProbe()


@contextmanager
def branch_switch(model: nn.Module, value: str) -> Iterator[None]:
    """Leaves one branch of every MSCA out: "all", "no 5x5", "no 1x7", "no 1x11" or "no 1x21"."""
    left_out = value.removeprefix("no ")
    if value != "all" and left_out not in BRANCHES:
        raise ValueError(f"There is no branch {left_out!r}; branches are {', '.join(BRANCHES)}.")
    gates = [gate for _, _, gate in _encoder(model).gates()]
    before = [gate.active for gate in gates]
    try:
        for gate in gates:
            gate.active = tuple(name for name in BRANCHES if name != left_out)
        yield
    finally:
        for gate, active in zip(gates, before, strict=True):
            gate.active = active


@contextmanager
def product_switch(model: nn.Module, value: str) -> Iterator[None]:
    """Multiplies the attention onto its input ("on") or gives the attention alone ("off")."""
    if value not in ("on", "off"):
        raise ValueError(f"The product can be on or off, not {value!r}.")
    gates = [gate for _, _, gate in _encoder(model).gates()]
    before = [gate.product for gate in gates]
    try:
        for gate in gates:
            gate.product = value == "on"
        yield
    finally:
        for gate, product in zip(gates, before, strict=True):
            gate.product = product
