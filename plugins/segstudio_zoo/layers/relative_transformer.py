"""The transformer block with relative position bias and layer scale, of BEiT and MAE for segmentation.

Bao et al., "BEiT", ICLR 2022, arXiv 2106.08254, section 2.4 and appendix: scores are scale q kᵀ + B, where
B is read from a table of offsets; keys have no bias; each residual branch is scaled by a learned vector
(Touvron et al., arXiv 2103.17239, equation 4). Key names as mmsegmentation publishes them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segstudio_zoo.layers.attention import BiasRows, Recorder, merge_heads, split_heads, tell
from segstudio_zoo.layers.drop_path import DropPath
from segstudio_zoo.layers.position import bias_table_for, relations, relative_index
from segstudio_zoo.layers.transformer import FeedForward


class RelativePositionBias(nn.Module):
    """One table for all layers (BEiT pre-training): `relative_position_bias_table` (relations, heads)."""

    tables_of_any_size = ("relative_position_bias_table",)

    def __init__(self, heads: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size
        self.relative_position_bias_table = nn.Parameter(torch.zeros(relations(size), heads))

    def forward(self, size: tuple[int, int]) -> Tensor:
        """The table for a grid of `size`, (relations, heads)."""
        return bias_table_for(self.relative_position_bias_table, size, self.size)


class RelativeAttention(nn.Module):
    """Self-attention with one packed projection and, unless `relative` is False, its own bias table.

    `key_bias` False: `q_bias` and `v_bias` are parameters and keys have none. True: `qkv.bias`.
    """

    tables_of_any_size = ("relative_position_bias_table",)

    def __init__(
        self, dim: int, heads: int, size: tuple[int, int], *, relative: bool = True, key_bias: bool = False
    ) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (dim // heads) ** -0.5
        self.size = size
        self.relative = relative
        if not key_bias:
            self.q_bias = nn.Parameter(torch.zeros(dim))
            self.v_bias = nn.Parameter(torch.zeros(dim))
        self.key_bias = key_bias
        if relative:
            self.relative_position_bias_table = nn.Parameter(torch.zeros(relations(size), heads))
            nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.qkv = nn.Linear(dim, 3 * dim, bias=key_bias)
        self.proj = nn.Linear(dim, dim)
        nn.init.trunc_normal_(self.qkv.weight, std=0.02)
        nn.init.trunc_normal_(self.proj.weight, std=0.02)
        nn.init.zeros_(self.proj.bias)
        self.recorders: list[Recorder] = []

    def forward(self, x: Tensor, size: tuple[int, int], shared: Tensor | None = None) -> Tensor:
        """(N, 1 + h w, D) -> the same shape; `shared` (relations, heads) is a table common to all layers."""
        bias = self.qkv.bias
        if not self.key_bias:
            bias = torch.cat([self.q_bias, torch.zeros_like(self.v_bias), self.v_bias])
        query, key, value = split_heads(F.linear(x, self.qkv.weight, bias), self.heads, 3)
        table = self.table_for(size, shared)
        mask = None if table is None else gathered_bias(table, size).to(query.dtype)
        if self.recorders:
            rows = None if table is None else bias_rows(table, size)
            tell(self.recorders, query, key, self.scale, rows)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=self.scale)
        return self.proj(merge_heads(attended))

    def table_for(self, size: tuple[int, int], shared: Tensor | None = None) -> Tensor | None:
        """The bias table in effect for a grid of `size`, (relations, heads), or None."""
        table = bias_table_for(self.relative_position_bias_table, size, self.size) if self.relative else None
        if shared is None:
            return table
        return shared if table is None else table + shared


def gathered_bias(table: Tensor, size: tuple[int, int]) -> Tensor:
    """(relations, heads) -> (1, heads, L, L) with L = 1 + h w."""
    index = relative_index(size).to(table.device)
    return table.T[:, index.reshape(-1)].unflatten(1, index.shape)[None].contiguous()


def bias_rows(table: Tensor, size: tuple[int, int]) -> BiasRows:
    """The bias of chosen queries and keys, read from a copy of the table."""
    kept = table.detach().clone()

    def rows(queries: Tensor, keys: Tensor | None = None) -> Tensor:
        places = relative_index(size).to(kept.device)[queries]
        places = places if keys is None else places[:, keys]
        return kept.T[:, places.reshape(-1)].unflatten(1, places.shape)

    return rows


class LayerScaleBlock(nn.Module):
    """x + gamma_1 * attention(ln1(x)), then x + gamma_2 * ffn(ln2(x)), over tokens with a class token."""

    def __init__(
        self,
        dim: int,
        heads: int,
        hidden: int,
        size: tuple[int, int],
        *,
        relative: bool = True,
        key_bias: bool = False,
        layer_scale: float = 0.1,
        eps: float = 1e-6,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.gamma_1 = nn.Parameter(torch.full((dim,), layer_scale))
        self.gamma_2 = nn.Parameter(torch.full((dim,), layer_scale))
        self.ln1 = nn.LayerNorm(dim, eps)
        self.attn = RelativeAttention(dim, heads, size, relative=relative, key_bias=key_bias)
        self.ln2 = nn.LayerNorm(dim, eps)
        self.ffn = FeedForward(dim, hidden)
        self.drop_path = DropPath(drop_path)

    @property
    def attention(self) -> RelativeAttention:
        return self.attn

    def forward(self, x: Tensor, size: tuple[int, int], shared: Tensor | None = None) -> Tensor:
        x = x + self.drop_path(self.gamma_1 * self.attn(self.ln1(x), size, shared))
        return x + self.drop_path(self.gamma_2 * self.ffn(self.ln2(x)))
