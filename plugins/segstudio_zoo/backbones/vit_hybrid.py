"""ViT-hybrid: a vision transformer over the features of a ResNet-50, as DPT-Hybrid uses it.

Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, arXiv 2010.11929, section 3.1 ("Hybrid
Architecture") and appendix B.1: a ResNet-50 with group norm (Wu and He, arXiv 1803.08494) and standardised
weights (Qiao et al., arXiv 1903.10520, equation 9), three stages of 3, 4 and 9 blocks; its map at stride 16
gives the patches. DPT (arXiv 2103.13413, section 3.1, "DPT-Hybrid") reads the first two stages and blocks 9
and 12.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segstudio.plugin_api import FeatureInfo
from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.key_transforms import join_parts
from segstudio_zoo.layers.attention_probe import AttentionProbe, RolloutProbe, find_module
from segstudio_zoo.layers.drop_path import linear_rates
from segstudio_zoo.layers.patch_transformer import PatchTransformer
from segstudio_zoo.layers.position import trained_size
from segstudio_zoo.layers.transformer import TransformerBlock
from segstudio_zoo.vit_keys import TRANSFORMERS_RULES, timm_rules

BLOCKS = (3, 4, 9)
WIDTHS = (256, 512, 1024)
STRIDE = 16
GROUPS = 32


class StandardisedConv(nn.Conv2d):
    """Each filter is brought to mean 0 and variance 1; padding as the original, more at right and bottom."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(in_channels, channels, kernel, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        mean = weight.mean(dim=(1, 2, 3), keepdim=True)
        deviation = weight.var(dim=(1, 2, 3), keepdim=True, correction=0)
        weight = (weight - mean) / (deviation + 1e-8).sqrt()
        return F.conv2d(same_padded(x, self.kernel_size[0], self.stride[0]), weight, stride=self.stride)


def same_padded(x: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    """Pads so that a window of `kernel` and `stride` gives ceil(side / stride) cells."""
    wanted = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in (x.shape[2], x.shape[3])]
    return F.pad(
        x,
        (wanted[1] // 2, wanted[1] - wanted[1] // 2, wanted[0] // 2, wanted[0] - wanted[0] // 2),
        value=value,
    )


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1, each with group norm; ReLU after the sum."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        inner = channels // 4
        self.conv1 = StandardisedConv(in_channels, inner, 1)
        self.norm1 = nn.GroupNorm(GROUPS, inner)
        self.conv2 = StandardisedConv(inner, inner, 3, stride)
        self.norm2 = nn.GroupNorm(GROUPS, inner)
        self.conv3 = StandardisedConv(inner, channels, 1)
        self.norm3 = nn.GroupNorm(GROUPS, channels)
        self.downsample = None
        if in_channels != channels or stride != 1:
            self.downsample = nn.Sequential(
                StandardisedConv(in_channels, channels, 1, stride), nn.GroupNorm(GROUPS, channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(self.conv1(x)).relu()
        y = self.norm2(self.conv2(y)).relu()
        y = self.norm3(self.conv3(y))
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class HybridEmbedding(nn.Module):
    """Stem, three stages, 1x1 `projection` to the transformer's channels."""

    def __init__(self, in_channels: int, dim: int) -> None:
        super().__init__()
        self.patch = STRIDE
        self.stem = nn.Sequential(
            StandardisedConv(in_channels, 64, 7, 2), nn.GroupNorm(GROUPS, 64), nn.ReLU()
        )
        stages = []
        width = 64
        for place, (blocks, channels) in enumerate(zip(BLOCKS, WIDTHS, strict=True)):
            first = Bottleneck(width, channels, 1 if place == 0 else 2)
            stages.append(
                nn.Sequential(first, *(Bottleneck(channels, channels, 1) for _ in range(blocks - 1)))
            )
            width = channels
        self.stages = nn.ModuleList(stages)
        self.projection = nn.Conv2d(width, dim, 1)

    def pyramid(self, image: Tensor) -> list[Tensor]:
        """The stages' maps at strides 4, 8, 16."""
        x = self.stem(image)
        x = F.max_pool2d(same_padded(x, 3, 2, value=float("-inf")), 3, 2)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def forward(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """(N, 3, H, W) -> tokens (N, h w, D) and (h, w)."""
        return self.tokens(self.pyramid(image)[-1])

    def tokens(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """The deepest map as tokens."""
        x = self.projection(x)
        return x.flatten(2).transpose(1, 2), (x.shape[2], x.shape[3])


class HybridTransformer(PatchTransformer):
    """Gives two maps of the ResNet (256 channels at stride 4, 512 at 8), then the taps at stride 16."""

    convolutional = 2

    def take(self, taps: Sequence[int], *, final_norm: bool = False, with_class_token: bool = False) -> None:
        """See `PatchTransformer.take`; the ResNet's two maps stay in front."""
        super().take(taps, final_norm=final_norm, with_class_token=with_class_token)
        maps = [FeatureInfo(width, 4 * 2**place) for place, width in enumerate(WIDTHS[: self.convolutional])]
        self.features = (*maps, *self.features)

    def forward(self, image: Tensor) -> list[Any]:
        """(N, 3, H, W) -> maps at strides 4, 8, then one for each tap at stride 16."""
        maps = self.patch_embed.pyramid(image)
        patches, size = self.patch_embed.tokens(maps[-1])
        return [*maps[: self.convolutional], *self.run(self.with_positions(patches, size), size)]


def build(
    variant: str,
    *,
    output_stride: int | None = None,
    in_channels: int = 3,
    image_size: tuple[int, ...] = (384, 384),
    out_indices: tuple[int, ...] | None = None,
    interpolation: str = "bilinear",
    drop_path_rate: float = 0.1,
) -> HybridTransformer:
    """ViT-B over ResNet-50; `out_indices` are blocks counted from 0, 8 and 11 unless told.

    Raises ValueError for an output stride other than 16.
    """
    if output_stride not in (None, STRIDE):
        raise ValueError(f"{variant} ends at stride {STRIDE}, not {output_stride}")
    dim, depth, heads = 768, 12, 12
    height, width = trained_size(image_size, STRIDE)
    positions = torch.empty(1, 1 + (height // STRIDE) * (width // STRIDE), dim)
    nn.init.trunc_normal_(positions, std=0.02)
    return HybridTransformer(
        [
            TransformerBlock(dim, heads, 4 * dim, drop_path=rate)
            for rate in linear_rates(drop_path_rate, depth)
        ],
        dim=dim,
        patch=STRIDE,
        taps=out_indices or (8, 11),
        embedding=HybridEmbedding(in_channels, dim),
        positions=positions,
        image_size=(height, width),
        interpolation=interpolation,
    )


def attention_probe() -> AttentionProbe:
    """Attention per layer and head, over the cells at stride 16."""
    return AttentionProbe(partial(find_module, kind=HybridTransformer))


def rollout_probe() -> RolloutProbe:
    """Attention composed over the layers."""
    return RolloutProbe(partial(find_module, kind=HybridTransformer))


_TO = r"patch_embed.stages.\1.\2."


def timm_hybrid_rules(source: str = "", target: str = "") -> tuple[tuple[str, str | None], ...]:
    """timm's keys, behind a prefix; the authors of DPT have them too."""
    trunk = rf"{source}patch_embed\.backbone\."
    block = rf"{trunk}stages\.(\d)\.blocks\.(\d)\."
    return (
        (rf"{trunk}stem\.conv\.(.+)", rf"{target}patch_embed.stem.0.\1"),
        (rf"{trunk}stem\.norm\.(.+)", rf"{target}patch_embed.stem.1.\1"),
        (rf"{block}downsample\.conv\.(.+)", rf"{target}{_TO}downsample.0.\3"),
        (rf"{block}downsample\.norm\.(.+)", rf"{target}{_TO}downsample.1.\3"),
        (rf"{block}((?:conv|norm)[123]\..+)", rf"{target}{_TO}\3"),
        *timm_rules(source, target),
    )


_BIT = r"embeddings\.backbone\.bit\."
_BIT_LAYER = rf"{_BIT}encoder\.stages\.(\d)\.layers\.(\d)\."

KEY_MAPS = (
    KeyMap(
        layout="timm",
        telltale=(r"patch_embed\.backbone\.stem\.conv\.weight", r"blocks\.0\.attn\.qkv\.weight"),
        rules=(*timm_hybrid_rules(), (r"(norm|fc_norm|head)\.(weight|bias)", None)),
    ),
    KeyMap(
        layout="transformers",
        telltale=(rf"{_BIT}embedder\.convolution\.weight", r"(encoder\.layer|layers)\.0\..+"),
        rules=(
            (rf"{_BIT}embedder\.convolution\.(.+)", r"patch_embed.stem.0.\1"),
            (rf"{_BIT}embedder\.norm\.(.+)", r"patch_embed.stem.1.\1"),
            (rf"{_BIT_LAYER}downsample\.conv\.(.+)", rf"{_TO}downsample.0.\3"),
            (rf"{_BIT_LAYER}downsample\.norm\.(.+)", rf"{_TO}downsample.1.\3"),
            (rf"{_BIT_LAYER}((?:conv|norm)[123]\..+)", rf"{_TO}\3"),
            (r"embeddings\.projection\.(.+)", r"patch_embed.projection.\1"),
            *TRANSFORMERS_RULES,
        ),
        transform=join_parts,
    ),
)
