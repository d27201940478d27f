"""Multi-head scaled dot-product attention that can be looked into.

Vaswani et al., "Attention Is All You Need", NeurIPS 2017, section 3.2. Apart from the blocks that use it,
because a probe only needs what stands here: each attention module passes its queries and keys to
`recorders` while there are any, and `AttentionRecord` gives any row, column or product from them on demand.
No matrix of all queries times all keys is ever kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_CHUNK = 1024


class BiasRows(Protocol):
    """What is added to scaled scores, without a matrix of all queries times all keys."""

    def __call__(self, queries: Tensor, keys: Tensor | None = None) -> Tensor:
        """(n,) indices of queries and (m,) of keys, None for all of them -> (heads, n, m)."""
        ...


@dataclass
class AttentionRecord:
    """Queries and keys of one attention module for the first image of a batch.

    `query` (heads, Lq, d) and `key` (heads, Lk, d). Rows are softmax(scale q kᵀ + bias) over the keys.
    Beside them one log-sum-exp a row is kept from the first column on: each further one costs Lq products.
    """

    query: Tensor
    key: Tensor
    scale: float
    bias: BiasRows | None = None
    _normaliser: Tensor | None = field(default=None, init=False, repr=False)

    @property
    def heads(self) -> int:
        return int(self.query.shape[0])

    @property
    def nbytes(self) -> int:
        """Bytes of the kept queries, keys and log-sum-exps."""
        normaliser = 0 if self._normaliser is None else self._normaliser.nbytes
        return self.query.nbytes + self.key.nbytes + normaliser

    def scores(self, index: Tensor) -> Tensor:
        """Scores before the softmax of the queries `index` (n,): (heads, n, Lk)."""
        scores = self.scale * (self.query[:, index] @ self.key.transpose(1, 2))
        return scores if self.bias is None else scores + self.bias(index)

    def rows(self, index: Tensor) -> Tensor:
        """Attention of the queries `index` (n,) over all keys: (heads, n, Lk); rows sum to 1."""
        return self.scores(index).softmax(-1)

    def row(self, index: int, head: int | None = None) -> Tensor:
        """Attention of one query over all keys (Lk,): of one head, or averaged over the heads."""
        row = self.rows(torch.tensor([index], device=self.query.device))[:, 0]
        return row.mean(0) if head is None else row[head]

    def column(self, index: int, head: int | None = None) -> Tensor:
        """How much each query attends to the key `index`: (Lq,). Columns need not sum to 1."""
        scores = self.scale * (self.query @ self.key[:, index, :, None])[..., 0].float()
        if self.bias is not None:
            every, key = (torch.arange(self.query.shape[1]), torch.tensor([index]))
            scores = scores + self.bias(every.to(scores.device), key.to(scores.device))[..., 0]
        column = torch.exp(scores - self.normaliser())
        return column.mean(0) if head is None else column[head]

    def normaliser(self) -> Tensor:
        """The log-sum-exp of every row (heads, Lq) float32, computed once in chunks of queries."""
        if self._normaliser is None:
            parts = [self.scores(chunk).float().logsumexp(-1) for chunk in self._chunks()]
            self._normaliser = torch.cat(parts, dim=1)
        return self._normaliser

    def propagate(self, weights: Tensor) -> Tensor:
        """`weights` (Lq,) times the attention matrix averaged over the heads: (Lk,)."""
        total = weights.new_zeros(self.key.shape[1])
        for chunk in self._chunks():
            total += weights[chunk] @ self.rows(chunk).mean(0)
        return total

    def entropy(self, head: int | None = None) -> Tensor:
        """Entropy of every row in nats, (Lq,): 0 for a single key, log(Lk) for all keys alike."""
        parts = [torch.special.entr(self.rows(chunk)).sum(-1) for chunk in self._chunks()]
        entropy = torch.cat(parts, dim=1)
        return entropy.mean(0) if head is None else entropy[head]

    def _chunks(self) -> Iterator[Tensor]:
        yield from torch.arange(self.query.shape[1], device=self.query.device).split(_CHUNK)


Recorder = Callable[[AttentionRecord], None]
"""Called in each run with what a probe needs; several probes share the one record."""


class MultiHeadAttention(nn.Module):
    """Attention with one packed projection for queries, keys and values.

    Key names as the mmsegmentation transformers publish them: in_proj_weight (3D, D) with the rows of
    query, key and value in this order, in_proj_bias, out_proj.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{dim} channels do not divide into {heads} heads.")
        self.heads = heads
        self.scale = (dim // heads) ** -0.5
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        self.recorders: list[Recorder] = []
        nn.init.trunc_normal_(self.in_proj_weight, std=0.02)
        nn.init.trunc_normal_(self.out_proj.weight, std=0.02)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        """`x` (N, L, D) attends to itself, or to `source` (N, S, D). Gives (N, L, D)."""
        dim = x.shape[-1]
        if source is None:
            packed = F.linear(x, self.in_proj_weight, self.in_proj_bias)
            query, key, value = split_heads(packed, self.heads, 3)
        else:
            (query,) = split_heads(
                F.linear(x, self.in_proj_weight[:dim], self.in_proj_bias[:dim]), self.heads, 1
            )
            packed = F.linear(source, self.in_proj_weight[dim:], self.in_proj_bias[dim:])
            key, value = split_heads(packed, self.heads, 2)
        if self.recorders:
            tell(self.recorders, query, key, self.scale)
        attended = F.scaled_dot_product_attention(query, key, value, scale=self.scale)
        return self.out_proj(merge_heads(attended))


def split_heads(packed: Tensor, heads: int, parts: int) -> tuple[Tensor, ...]:
    """(N, L, parts * heads * d) -> `parts` tensors (N, heads, L, d)."""
    n, length, width = packed.shape
    return packed.view(n, length, parts, heads, width // (parts * heads)).permute(2, 0, 3, 1, 4).unbind(0)


def merge_heads(attended: Tensor) -> Tensor:
    """(N, heads, L, d) -> (N, L, heads * d)."""
    n, heads, length, d = attended.shape
    return attended.transpose(1, 2).reshape(n, length, heads * d)


def tell(
    recorders: Iterable[Recorder], query: Tensor, key: Tensor, scale: float, bias: BiasRows | None = None
) -> None:
    """Hands a record of query (N, heads, Lq, d) and key (N, heads, Lk, d) to each of `recorders`."""
    record = AttentionRecord(query[0].detach().clone(), key[0].detach().clone(), scale, bias)
    for recorder in recorders:
        recorder(record)


@contextmanager
def recording(modules: Iterable[nn.Module]) -> Iterator[list[AttentionRecord | None]]:
    """While open, each run fills one record per module of `modules`, in their order."""
    modules = list(modules)
    records: list[AttentionRecord | None] = [None] * len(modules)

    added: list[tuple[list[Recorder], Recorder]] = []
    try:
        for place, module in enumerate(modules):
            recorder = partial(records.__setitem__, place)
            module.recorders.append(recorder)
            added.append((module.recorders, recorder))
        yield records
    finally:
        for recorders, recorder in added:
            recorders.remove(recorder)
