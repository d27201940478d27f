"""Mix Transformer (MiT), the hierarchical encoder of SegFormer.

Xie, Wang, Yu, Anandkumar, Alvarez, Luo, "SegFormer: Simple and Efficient Design for Semantic Segmentation
with Transformers", NeurIPS 2021, arXiv 2105.15203, section 3.1: overlapped patch merging, attention whose
keys and values come from a map reduced by R = 8, 4, 2, 1 a side (equations 1 and 2), and Mix-FFN, whose 3x3
depthwise convolution takes the place of position embeddings (equation 3).

Deviation: the paper reduces the sequence by reshaping R x C channels into one linear layer (equation 2); the
published code and weights use an R x R convolution of stride R and a layer norm, as here.

Tokens (N, H W, C) are the memory of a channels-last map (N, C, H, W), so that the way from linear layers to
convolutions and back copies nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from segstudio.plugin_api import FeatureInfo
from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.key_transforms import join_parts
from segstudio_zoo.layers.attention import MultiHeadAttention
from segstudio_zoo.layers.attention_probe import AttentionProbe, AttentionSite, TokenGrid, find_module
from segstudio_zoo.layers.drop_path import DropPath, linear_rates
from segstudio_zoo.layers.tokens import to_map, to_tokens

EPS = 1e-6

VARIANTS: dict[str, tuple[int, tuple[int, int, int, int]]] = {
    "mit-b0": (32, (2, 2, 2, 2)),
    "mit-b1": (64, (2, 2, 2, 2)),
    "mit-b2": (64, (3, 4, 6, 3)),
    "mit-b3": (64, (3, 4, 18, 3)),
    "mit-b4": (64, (3, 8, 27, 3)),
    "mit-b5": (64, (3, 6, 40, 3)),
}
"""Width of one head and blocks of each stage (table 6 of the paper; B0 is the "real-time" one)."""

HEADS = (1, 2, 5, 8)
REDUCTIONS = (8, 4, 2, 1)


class OverlapPatchMerging(nn.Module):
    """Strided convolution over overlapping patches, then layer norm (section 3.1)."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2)
        self.norm = nn.LayerNorm(channels, EPS)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """(N, C, H, W) -> tokens (N, h w, channels) and (h, w)."""
        x = self.projection(x)
        return self.norm(to_tokens(x)), (x.shape[2], x.shape[3])


class EfficientSelfAttention(nn.Module):
    """Attention of every position to a grid of keys reduced `reduction` times a side (equation 2)."""

    def __init__(self, dim: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.reduction = reduction
        self.attn = MultiHeadAttention(dim, heads)
        if reduction > 1:
            self.sr = nn.Conv2d(dim, dim, reduction, reduction)
            self.norm = nn.LayerNorm(dim, EPS)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(N, H W, D) -> (N, H W, D)."""
        if self.reduction == 1:
            return self.attn(x)
        return self.attn(x, self.norm(to_tokens(self.sr(to_map(self._padded(x, size), self._covered(size))))))

    def key_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the grid of keys for a map of `size`."""
        height, width = self._covered(size)
        return height // self.reduction, width // self.reduction

    def _covered(self, size: tuple[int, int]) -> tuple[int, int]:
        return max(size[0], self.reduction), max(size[1], self.reduction)

    def _padded(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """A map smaller than one key cell is repeated at its border, so that one key is left."""
        height, width = self._covered(size)
        if (height, width) == size:
            return x
        padded = F.pad(to_map(x, size), (0, width - size[1], 0, height - size[0]), mode="replicate")
        return to_tokens(padded)


class MixFeedForward(nn.Module):
    """MLP with a 3x3 depthwise convolution between its layers (equation 3): MLP(GELU(Conv3x3(MLP(x)))).

    `mix` may be set at inference: "on" as trained; "centre" keeps only the middle tap of each 3x3 kernel, so
    that positions no longer see each other; "off" leaves the convolution out.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.mix = "on"
        self.layers = nn.Sequential(
            OrderedDict(
                [
                    ("0", nn.Conv2d(dim, hidden, 1)),
                    ("1", nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)),
                    ("2", nn.GELU()),
                    ("4", nn.Conv2d(hidden, dim, 1)),
                ]
            )
        )

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(N, H W, D) -> (N, H W, D)."""
        first, depthwise, activation, last = self.layers
        x = F.linear(x, first.weight.flatten(1), first.bias)
        if self.mix == "on":
            x = to_tokens(depthwise(to_map(x, size)))
        elif self.mix == "centre":
            x = x * depthwise.weight[:, 0, 1, 1] + depthwise.bias
        return F.linear(activation(x), last.weight.flatten(1), last.bias)


class TransformerBlock(nn.Module):
    """Pre-norm block: efficient self-attention, then Mix-FFN, each with a residual."""

    def __init__(self, dim: int, heads: int, reduction: int, expansion: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, EPS)
        self.attn = EfficientSelfAttention(dim, heads, reduction)
        self.norm2 = nn.LayerNorm(dim, EPS)
        self.ffn = MixFeedForward(dim, dim * expansion)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        x = x + self.drop_path(self.attn(self.norm1(x), size))
        return x + self.drop_path(self.ffn(self.norm2(x), size))


class MixVisionTransformer(nn.Module):
    """Four stages at strides 4, 8, 16, 32; `layers[i]` holds patch merging, blocks and norm of stage i."""

    num_depths = len(HEADS)

    def __init__(
        self,
        width: int,
        depths: tuple[int, ...],
        *,
        in_channels: int = 3,
        expansion: int = 4,
        drop_path_rate: float = 0.1,
    ) -> None:
        super().__init__()
        channels = tuple(width * heads for heads in HEADS)
        self.features = tuple(FeatureInfo(c, 4 * 2**i) for i, c in enumerate(channels))
        rates = linear_rates(drop_path_rate, sum(depths))
        self.layers = nn.ModuleList()
        for stage, (dim, depth) in enumerate(zip(channels, depths, strict=True)):
            kernel, stride = (7, 4) if stage == 0 else (3, 2)
            merging = OverlapPatchMerging(
                in_channels if stage == 0 else channels[stage - 1], dim, kernel, stride
            )
            start = sum(depths[:stage])
            blocks = nn.ModuleList(
                TransformerBlock(dim, HEADS[stage], REDUCTIONS[stage], expansion, rates[start + i])
                for i in range(depth)
            )
            self.layers.append(nn.ModuleList([merging, blocks, nn.LayerNorm(dim, EPS)]))

    def forward(self, image: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> four maps (N, C_i, H / 4 / 2^i, W / 4 / 2^i), channels last in memory."""
        maps = []
        x = image
        for merging, blocks, norm in self.layers:
            tokens, size = merging(x)
            for block in blocks:
                tokens = block(tokens, size)
            x = to_map(norm(tokens), size)
            maps.append(x)
        return maps

    def attention_modules(self) -> Sequence[nn.Module]:
        return [block.attn.attn for _, blocks, _ in self.layers for block in blocks]

    def attention_sites(self, height: int, width: int) -> Sequence[AttentionSite]:
        """Queries on the stage's own grid, keys on the grid reduced R times a side."""
        sites = []
        size = (height, width)
        for stage, (merging, blocks, _) in enumerate(self.layers):
            step = merging.projection.stride[0]
            size = (-(-size[0] // step), -(-size[1] // step))
            stride = self.features[stage].stride
            for place, block in enumerate(blocks, start=1):
                reduced = block.attn.key_size(size) if block.attn.reduction > 1 else size
                key_stride = float(stride * block.attn.reduction)
                queries = TokenGrid(size, (float(stride), float(stride)))
                sites.append(
                    AttentionSite((stage + 1, place), queries, TokenGrid(reduced, (key_stride, key_stride)))
                )
        return sites

    def depth_of(self, key: str) -> int:
        """Which of `num_depths` steps the parameter `key` belongs to, for layer-wise learning rates."""
        return int(key.split(".")[1])


def build(
    variant: str, *, output_stride: int | None = None, in_channels: int = 3, drop_path_rate: float = 0.1
) -> MixVisionTransformer:
    """One of `VARIANTS`. Raises ValueError for an output stride other than 32."""
    if output_stride not in (None, 32):
        raise ValueError(
            f"MiT has features at strides 4, 8, 16 and 32; output stride {output_stride} is not one."
        )
    width, depths = VARIANTS[variant]
    return MixVisionTransformer(width, depths, in_channels=in_channels, drop_path_rate=drop_path_rate)


def attention_probe() -> AttentionProbe:
    """Attention on the reduced grid of keys, per stage, block and head (section 3.1, figure 3)."""
    return AttentionProbe(partial(find_module, kind=MixVisionTransformer))


@contextmanager
def mix_switch(model: nn.Module, value: str) -> Iterator[None]:
    """Sets the 3x3 convolution of every Mix-FFN to "on", "centre" or "off"."""
    if value not in ("on", "centre", "off"):
        raise ValueError(f"The 3x3 convolution can be on, centre or off, not {value!r}.")
    layers = [module for module in model.modules() if isinstance(module, MixFeedForward)]
    before = [layer.mix for layer in layers]
    try:
        for layer in layers:
            layer.mix = value
        yield
    finally:
        for layer, mix in zip(layers, before, strict=True):
            layer.mix = mix


# Other publishers' keys ------------------------------------------------------------------------------------


def _rules_of_stage(stage: int) -> tuple[tuple[str, str | None], ...]:
    """transformers (before its version 5, and since) counts stages from 0, the authors from 1."""
    hf, new = r"(?:segformer\.)?encoder\.", rf"(?:segformer\.)?stages\.{stage}\."
    block, to = rf"(?:{hf}block\.{stage}|{new}blocks)\.(\d+)\.", rf"layers.{stage}.1.\1."
    attention, sequence = rf"{block}attention\.", r"sequence_reduction\."
    embedding = rf"(?:{hf}patch_embeddings\.{stage}|{new}patch_embeddings)"
    own_block = rf"block{stage + 1}\.(\d+)\."
    return (
        (
            rf"{embedding}\.proj\.(.+)",
            rf"layers.{stage}.0.projection.\1",
        ),
        (
            rf"{embedding}\.layer_norm\.(.+)",
            rf"layers.{stage}.0.norm.\1",
        ),
        (rf"{block}layer_norm_([12])\.(.+)", rf"{to}norm\2.\3"),
        (rf"{block}layernorm_before\.(.+)", rf"{to}norm1.\2"),
        (rf"{block}layernorm_after\.(.+)", rf"{to}norm2.\2"),
        (rf"{attention}(?:self\.query|q_proj)\.(.+)", rf"{to}attn.attn.in_proj_\2#0"),
        (rf"{attention}(?:self\.key|k_proj)\.(.+)", rf"{to}attn.attn.in_proj_\2#1"),
        (rf"{attention}(?:self\.value|v_proj)\.(.+)", rf"{to}attn.attn.in_proj_\2#2"),
        (rf"{attention}(?:self\.sr|{sequence}sequence_reduction)\.(.+)", rf"{to}attn.sr.\2"),
        (rf"{attention}(?:self|sequence_reduction)\.layer_norm\.(.+)", rf"{to}attn.norm.\2"),
        (rf"{attention}(?:output\.dense|o_proj)\.(.+)", rf"{to}attn.attn.out_proj.\2"),
        (rf"{block}mlp\.(?:dense|fc)1\.(.+)", rf"{to}ffn.layers.0.\2"),
        (rf"{block}mlp\.dwconv\.dwconv\.(.+)", rf"{to}ffn.layers.1.\2"),
        (rf"{block}mlp\.(?:dense|fc)2\.(.+)", rf"{to}ffn.layers.4.\2"),
        (rf"(?:{hf}layer_norm\.{stage}|{new}layer_norm)\.(.+)", rf"layers.{stage}.2.\1"),
        (rf"patch_embed{stage + 1}\.proj\.(.+)", rf"layers.{stage}.0.projection.\1"),
        (rf"patch_embed{stage + 1}\.norm\.(.+)", rf"layers.{stage}.0.norm.\1"),
        (rf"{own_block}norm([12])\.(.+)", rf"{to}norm\2.\3"),
        (rf"{own_block}attn\.q\.(.+)", rf"{to}attn.attn.in_proj_\2#0"),
        (rf"{own_block}attn\.kv\.(.+)", rf"{to}attn.attn.in_proj_\2#1"),
        (rf"{own_block}attn\.(sr|norm)\.(.+)", rf"{to}attn.\2.\3"),
        (rf"{own_block}attn\.proj\.(.+)", rf"{to}attn.attn.out_proj.\2"),
        (rf"{own_block}mlp\.fc1\.(.+)", rf"{to}ffn.layers.0.\2"),
        (rf"{own_block}mlp\.dwconv\.dwconv\.(.+)", rf"{to}ffn.layers.1.\2"),
        (rf"{own_block}mlp\.fc2\.(.+)", rf"{to}ffn.layers.4.\2"),
        (rf"norm{stage + 1}\.(.+)", rf"layers.{stage}.2.\1"),
    )


_RULES: tuple[tuple[str, str | None], ...] = tuple(rule for s in range(4) for rule in _rules_of_stage(s))

KEY_MAPS = (
    KeyMap(
        layout="transformers",
        telltale=(r"(segformer\.)?(encoder\.patch_embeddings\.0|stages\.0\.patch_embeddings)\.proj\.weight",),
        rules=(*_RULES, (r"classifier\.(weight|bias)", None)),
        transform=join_parts,
    ),
    KeyMap(
        layout="authors",
        telltale=(r"patch_embed1\.proj\.weight", r"block1\.0\.attn\.kv\.weight"),
        rules=(*_RULES, (r"head\.(weight|bias)", None)),
        transform=join_parts,
    ),
)
