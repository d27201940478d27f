"""The protocol of probes: what a click on a pixel shows of a network's inside."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch.nn import Module
else:
    Module = Any

QueryKind = Literal["pixel", "channel", "class", "region", "global"]
MapKind = Literal["map", "vector", "matrix", "regions", "points", "images"]


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked: a pixel (y, x in pixels of the network's input), or the index of a channel or class."""

    kind: QueryKind = "pixel"
    y: float = 0.0
    x: float = 0.0
    index: int = 0


@dataclass(frozen=True, slots=True)
class ProbeMap:
    """What a probe answers.

    `values` float32: (h, w) for kind "map", (n,) for "vector", (m, n) for "matrix", (n, 5) rows of
    y0, x0, y1, x1, weight in input pixels for "regions", (n, 3) rows of y, x, weight for "points",
    (n, h, w) for "images".

    Cell (r, c) of a map covers input pixels [offset + r * stride, offset + (r + 1) * stride) in y, and the
    same in x. `stride` and `offset` are (y, x) in input pixels. `query_cell` is the (row, column) of the
    cell the query fell into. `labels` name rows or entries where they have names.

    `extras` of attention may tell what it costs at this size: `scores` (how many are computed, of what says
    `scores_of`, such as "a hop"), `score_bytes` (what they take if they are held at once), and where those
    of full attention are others, `full_scores` and `full_bytes`. Where a row goes to tokens without a place
    too, such as a class token, `other_tokens` is their share and `entropy_bits` the entropy of the whole row.
    """

    values: NDArray[np.float32]
    kind: MapKind = "map"
    stride: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    labels: tuple[str, ...] = ()
    signed: bool = False
    rows_sum_to_one: bool = False
    query_cell: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()
    extras: dict[str, Any] = field(default_factory=dict)


class Captured(Protocol):
    """What a probe kept of the last run: queries, keys and normalisers, never an HW x HW matrix.

    `nbytes` is the memory it holds. It must stay usable after the model ran on something else.
    """

    @property
    def nbytes(self) -> int: ...


@runtime_checkable
class Probe(Protocol):
    """Looks into one kind of module of one model."""

    def attach(self, model: Module) -> AbstractContextManager[Captured]:
        """While the context is open, a run of `model` fills what is returned."""
        ...

    def map(self, captured: Captured, query: Query, **options: Any) -> ProbeMap:
        """The answer to `query` from what was kept. Raises ValueError where the query is outside."""
        ...
