"""Attention between the cells of feature maps: y_i = sum over j of w(q_i, k_j) v_j.

What Non-local, the asymmetric non-local blocks and object-contextual attention have in common. Apart from
them so that each can be looked into in one way: a `DenseRecord` keeps queries and keys of the last run and
gives any row or column on demand; no matrix of all cells times all cells is ever kept, and at inference
none is made either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segstudio.plugin_api import ProbeMap, Query
from segstudio_zoo.layers.attention_cost import attention_cost
from segstudio_zoo.layers.feature_grid import FeatureGrid

Rule = Literal["softmax", "mean", "relu_mean"]
"""How scores s_ij become weights: softmax over j; s_ij / N; max(s_ij, 0) / N, with N the number of keys."""

CHUNK_SCORES = 1 << 20
"""Scores held at once at inference: 4 MiB in float32."""


def weights_of(scores: Tensor, rule: Rule) -> Tensor:
    """Scores (..., Lk) -> weights of the same shape."""
    if rule == "softmax":
        return scores.softmax(dim=-1)
    if rule == "relu_mean":
        scores = scores.relu()
    return scores / scores.shape[-1]


def attend(
    query: Tensor, key: Tensor, value: Tensor, *, scale: float = 1.0, rule: Rule = "softmax"
) -> Tensor:
    """`query` (N, Lq, D), `key` (N, Lk, D), `value` (N, Lk, E) -> (N, Lq, E).

    "mean" multiplies keys with values first, so its cost is linear in Lq. The others work in chunks of
    queries where no gradient is asked for and no graph is exported.
    """
    if rule == "mean":
        return query @ (key.transpose(1, 2) @ value) * (scale / key.shape[1])
    if rule == "softmax" and query.shape[-1] == value.shape[-1]:
        # Contiguous, or the kernel that works in blocks is not taken and the whole matrix is made.
        query, key, value = (x.contiguous()[:, None] for x in (query, key, value))
        return F.scaled_dot_product_attention(query, key, value, scale=scale)[:, 0]
    wants_gradient = torch.is_grad_enabled() and any(x.requires_grad for x in (query, key, value))
    if wants_gradient or torch.compiler.is_exporting():
        return weights_of(scale * (query @ key.transpose(1, 2)), rule) @ value
    step = max(1, CHUNK_SCORES // key.shape[1])
    # Written into one result: small parts kept between large chunks would fragment memory as much as the
    # whole matrix takes.
    out = query.new_empty(query.shape[0], query.shape[1], value.shape[2])
    for start in range(0, query.shape[1], step):
        chunk = query[:, start : start + step]
        out[:, start : start + step] = weights_of(scale * (chunk @ key.transpose(1, 2)), rule) @ value
    return out


@dataclass
class DenseRecord:
    """What one attention module kept of the first image of its last run.

    `query` (Lq, D) and `key` (Lk, D); `query_grid` (h, w) with h * w = Lq. `key_grid` is None where keys are
    no cells (classes, pooled anchors). `extra` holds what else a paper's probe needs. Beside them one
    log-sum-exp a query is kept from the first column on.
    """

    query: Tensor
    key: Tensor
    scale: float
    rule: Rule
    query_grid: tuple[int, int]
    key_grid: tuple[int, int] | None
    extra: dict[str, Any] = field(default_factory=dict)
    _normaliser: Tensor | None = field(default=None, init=False, repr=False)

    @property
    def nbytes(self) -> int:
        tensors = [self.query, self.key, *(v for v in self.extra.values() if isinstance(v, Tensor))]
        if self._normaliser is not None:
            tensors.append(self._normaliser)
        return sum(tensor.nbytes for tensor in tensors)

    @property
    def cost(self) -> dict[str, Any]:
        """The scores of the last run beside those of every queried cell attending to every other."""
        queries, keys = self.query.shape[0], self.key.shape[0]
        return attention_cost(queries * keys, queries, self.query)

    def rows(self, index: Tensor) -> Tensor:
        """Weights of the queries `index` (n,) over all keys: (n, Lk)."""
        return weights_of(self.scale * (self.query[index] @ self.key.T), self.rule)

    def row(self, index: int) -> Tensor:
        """Where query `index` looks: (Lk,)."""
        return self.rows(torch.tensor([index], device=self.query.device))[0]

    def column(self, index: int) -> Tensor:
        """How much every query looks at key `index`: (Lq,) float32."""
        scores = self.scale * (self.query @ self.key[index]).float()
        if self.rule == "softmax":
            return torch.exp(scores - self.normaliser())
        return (scores.relu() if self.rule == "relu_mean" else scores) / self.key.shape[0]

    def normaliser(self) -> Tensor:
        """The log-sum-exp of every query's scores (Lq,) float32, computed once in chunks."""
        if self._normaliser is None:
            step = max(1, CHUNK_SCORES // self.key.shape[0])
            parts = [(self.scale * (q @ self.key.T)).float().logsumexp(-1) for q in self.query.split(step)]
            self._normaliser = torch.cat(parts)
        return self._normaliser


@dataclass
class DenseCapture:
    """The records of the attention modules of one run, in the order they were asked for."""

    image_size: tuple[int, int] = (0, 0)
    align_corners: bool = False
    records: list[DenseRecord | None] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        return sum(record.nbytes for record in self.records if record is not None)

    def record(self, index: int = 0) -> DenseRecord:
        """Raises ValueError where nothing was kept."""
        record = self.records[index] if index < len(self.records) else None
        if record is None:
            raise ValueError("nothing was kept yet: run the network first, with its attention switched on")
        return record


class AttentionModule(nn.Module):
    """A module that passes what it attends with to each of `recorders`; several may look at once."""

    def __init__(self) -> None:
        super().__init__()
        self.recorders: list[Callable[[DenseRecord], None]] = []

    def remember(
        self,
        query: Tensor,
        key: Tensor,
        *,
        scale: float,
        query_grid: tuple[int, int],
        key_grid: tuple[int, int] | None = None,
        rule: Rule = "softmax",
        **extra: Any,
    ) -> None:
        """`query` (N, Lq, D), `key` (N, Lk, D); tensors of `extra` are kept as they are given."""
        if self.recorders:
            kept = {k: v.detach().clone() if isinstance(v, Tensor) else v for k, v in extra.items()}
            record = DenseRecord(
                query[0].detach().clone(),
                key[0].detach().clone(),
                scale,
                rule,
                query_grid,
                key_grid,
                kept,
            )
            for record_it in self.recorders:
                record_it(record)


class Seen(Protocol):
    """What a capture knows of the picture its network ran on."""

    image_size: tuple[int, int]
    align_corners: bool


@contextmanager
def image_size_of(model: nn.Module, capture: Seen) -> Iterator[None]:
    """While open, each run writes (H, W) of its input, and how scores are resized, into `capture`."""
    capture.align_corners = bool(getattr(model, "align_corners", False))

    def note(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        capture.image_size = (int(inputs[0].shape[2]), int(inputs[0].shape[3]))

    handle = model.get_submodule("backbone").register_forward_pre_hook(note)
    try:
        yield
    finally:
        handle.remove()


def grid_of(capture: Seen, size: tuple[int, int]) -> FeatureGrid:
    """How `size` (rows, columns) cells lie in the picture. Raises ValueError before the first run."""
    if capture.image_size == (0, 0):
        raise ValueError("nothing was kept yet: run the network first")
    return FeatureGrid(size, capture.image_size, capture.align_corners)


@contextmanager
def capturing(model: nn.Module, modules: Sequence[AttentionModule]) -> Iterator[DenseCapture]:
    """While open, each run of `model` fills one record a module."""
    capture = DenseCapture(records=[None] * len(modules))
    added = [partial(capture.records.__setitem__, place) for place in range(len(modules))]
    for module, recorder in zip(modules, added, strict=True):
        module.recorders.append(recorder)
    try:
        with image_size_of(model, capture):
            yield capture
    finally:
        for module, recorder in zip(modules, added, strict=True):
            module.recorders.remove(recorder)


def row_or_column(
    capture: Seen, record: DenseRecord, query: Query, view: str, notes: tuple[str, ...] = ()
) -> ProbeMap:
    """ "row": where the queried cell looks; "column": who looks at it. Keys must be cells."""
    if view not in ("row", "column"):
        raise ValueError(f"view is {view!r}; it is 'row' or 'column'")
    assert record.key_grid is not None
    queries, keys = grid_of(capture, record.query_grid), grid_of(capture, record.key_grid)
    asked, shown = (keys, queries) if view == "column" else (queries, keys)
    row, column = asked.cell_of(query)
    index = row * asked.size[1] + column
    values = record.column(index) if view == "column" else record.row(index)
    by_row = view == "row" and record.rule == "softmax"
    extras: dict[str, Any] = record.cost
    if by_row:
        extras["entropy"] = float(torch.special.entr(values).sum())
    return ProbeMap(
        values=values.reshape(shown.size).float().cpu().numpy(),
        stride=shown.stride,
        offset=shown.offset,
        signed=record.rule == "mean",
        rows_sum_to_one=by_row,
        query_cell=shown.cell_of(query),
        notes=notes,
        extras=extras,
    )
