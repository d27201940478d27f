"""The trunk that ViT, BEiT and MAE share: patches, class token, positions, blocks, and taps.

Dosovitskiy et al., ICLR 2021, arXiv 2010.11929, section 3.1, equation 1. Apart from the papers' files because
these differ only in their blocks and positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segstudio.plugin_api import FeatureInfo
from segstudio_zoo.layers.attention_probe import AttentionSite, TokenGrid
from segstudio_zoo.layers.position import position_for, trained_grid


class PatchEmbedding(nn.Module):
    """Non-overlapping patches through one strided convolution, `projection`.

    Where a side is no multiple of `patch`, the image is zero-padded at the right and bottom, or, with `cut`,
    what is over is left out (of less than a patch nothing is).
    """

    def __init__(
        self, in_channels: int, dim: int, patch: int, *, bias: bool = True, cut: bool = False
    ) -> None:
        super().__init__()
        self.patch, self.cut = patch, cut
        self.projection = nn.Conv2d(in_channels, dim, patch, patch, bias=bias)

    def forward(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """(N, 3, H, W) -> (N, h w, D) and (h, w)."""
        height, width = image.shape[-2:]
        if not self.cut or height < self.patch or width < self.patch:
            image = F.pad(image, (0, -width % self.patch, 0, -height % self.patch))
        x = self.projection(image)
        return x.flatten(2).transpose(1, 2), (x.shape[2], x.shape[3])


class PatchTransformer(nn.Module):
    """Tokens through `layers`; the outputs of the blocks in `taps` as maps of one stride, the patch size.

    `blocks` (N, L, D), size[, shared] -> (N, L, D). `positions` (1, 1 + L, D) or None. Each tap may be given
    back with its class token (`with_class_token`), then as a pair (map, (N, D)).
    """

    tables_of_any_size = ("pos_embed",)

    cuts_patches = False
    """Whether the patch embedding leaves out what is over of an image (`PatchEmbedding.cut`)."""

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        *,
        dim: int,
        patch: int,
        taps: Sequence[int],
        in_channels: int = 3,
        patch_bias: bool = True,
        embedding: nn.Module | None = None,
        positions: Tensor | None = None,
        train_positions: bool = True,
        shared_bias: nn.Module | None = None,
        final_norm: bool = False,
        eps: float = 1e-6,
        image_size: tuple[int, int] | None = None,
        interpolation: str = "bicubic",
    ) -> None:
        super().__init__()
        self.dim, self.patch, self.eps = dim, patch, eps
        self.image_size, self.interpolation = image_size, interpolation
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        self.pos_embed = None
        if positions is not None:
            self.pos_embed = nn.Parameter(positions, requires_grad=train_positions)
        self.patch_embed = embedding or PatchEmbedding(
            in_channels, dim, patch, bias=patch_bias, cut=self.cuts_patches
        )
        self.rel_pos_bias = shared_bias
        self.layers = nn.ModuleList(blocks)
        self.num_depths = len(self.layers) + 1
        self.take(taps, final_norm=final_norm)

    def take(self, taps: Sequence[int], *, final_norm: bool = False, with_class_token: bool = False) -> None:
        """Which blocks' outputs to give, counted from 0 (negative from the end), and in which form.

        Called by a head that wants other taps than the backbone gives by itself. `final_norm` adds the layer
        norm `ln1` behind the last block. Raises ValueError where there is no such block.
        """
        depth = len(self.layers)
        wrong = [tap for tap in taps if not -depth <= tap < depth]
        if wrong:
            raise ValueError(f"there is no block {wrong[0]}; blocks are 0 to {depth - 1}")
        self.taps = tuple(tap % depth for tap in taps)
        self.with_class_token = with_class_token
        self.ln1 = nn.LayerNorm(self.dim, self.eps) if final_norm else None
        self.features = tuple(FeatureInfo(self.dim, self.patch) for _ in taps)

    def embed(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Equation 1: class token and patches with positions (N, 1 + h w, D), and (h, w)."""
        patches, size = self.patch_embed(image)
        return self.with_positions(patches, size), size

    def with_positions(self, patches: Tensor, size: tuple[int, int]) -> Tensor:
        """Patches (N, h w, D) -> class token and patches with positions, (N, 1 + h w, D)."""
        x = torch.cat([self.cls_token.expand(patches.shape[0], -1, -1), patches], dim=1)
        if self.pos_embed is not None:
            trained = None
            if self.pos_embed.shape[1] != x.shape[1]:
                trained = trained_grid(self.pos_embed.shape[1] - 1, self.image_size, self.patch)
            x = x + position_for(self.pos_embed, size, trained, mode=self.interpolation)
        return x

    def forward(self, image: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> a map (N, D, H / patch, W / patch) for each tap, high to low only in depth."""
        return self.run(*self.embed(image))

    def run(self, x: Tensor, size: tuple[int, int]) -> list[Tensor]:
        """Tokens (N, 1 + h w, D) through the blocks -> the taps' maps."""
        shared = () if self.rel_pos_bias is None else (self.rel_pos_bias(size),)
        found: dict[int, Tensor] = {}
        for place, block in enumerate(list(self.layers)[: max(self.taps) + 1]):
            x = block(x, size, *shared)
            if place in self.taps:
                last = place == len(self.layers) - 1 and self.ln1 is not None
                found[place] = self.ln1(x) if last else x
        return [self._given(found[tap], size) for tap in self.taps]

    def _given(self, x: Tensor, size: tuple[int, int]) -> Any:
        # A map in its usual memory order: heads are convolutions, and the layer norm before made rows.
        patches = x[:, 1:].transpose(1, 2).unflatten(2, size)
        return (patches, x[:, 0]) if self.with_class_token else patches

    def attention_modules(self) -> Sequence[nn.Module]:
        return [block.attention for block in self.layers]

    def attention_sites(self, height: int, width: int) -> Sequence[AttentionSite]:
        """All tokens attend to all; the class token comes first."""
        cut = self.cuts_patches and min(height, width) >= self.patch
        over = 0 if cut else self.patch - 1
        size = ((height + over) // self.patch, (width + over) // self.patch)
        grid = TokenGrid(size, (float(self.patch), float(self.patch)), prefix=1)
        return [AttentionSite((1, place), grid, grid) for place in range(1, len(self.layers) + 1)]

    def depth_of(self, key: str) -> int:
        """0 for embeddings, 1 to n for the blocks: what layer-wise learning rates go by."""
        return int(key.split(".")[1]) + 1 if key.startswith("layers.") else 0
