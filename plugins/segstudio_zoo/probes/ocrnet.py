"""What a person can look at in OCRNet: relations of pixels and classes, regions, and regions from the labels.

Equations are those of `segmentors.ocrnet`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from torch import nn

from segstudio.plugin_api import ProbeMap, Query
from segstudio_zoo.layers.dense_attention import DenseCapture, capturing, grid_of
from segstudio_zoo.segmentors.ocrnet import ObjectContextBlock, OCRNet


def _attend_over_classes(model: nn.Module) -> AbstractContextManager[DenseCapture]:
    return capturing(model, [m for m in model.modules() if isinstance(m, ObjectContextBlock)])


class RelationProbe:
    """How much the clicked pixel takes from each class's region (Eq. 3): a bar a class."""

    def attach(self, model: nn.Module) -> AbstractContextManager[DenseCapture]:
        return _attend_over_classes(model)

    def map(self, captured: DenseCapture, query: Query, **options: Any) -> ProbeMap:
        record = captured.record()
        cell = grid_of(captured, record.query_grid).cell_of(query)
        relation = record.extra.get("relation")
        index = cell[0] * record.query_grid[1] + cell[1]
        values = record.row(index) if relation is None else relation[:, cell[0], cell[1]]
        return ProbeMap(
            values.float().cpu().numpy(),
            "vector",
            rows_sum_to_one=relation is None,
            query_cell=cell,
            signed=False,
            extras=record.cost,
        )


class RelationMapProbe:
    """Which pixels take from one class's region: a column of Eq. 3."""

    def attach(self, model: nn.Module) -> AbstractContextManager[DenseCapture]:
        return _attend_over_classes(model)

    def map(self, captured: DenseCapture, query: Query, **options: Any) -> ProbeMap:
        record = captured.record()
        _check_class(query.index, record.key.shape[0])
        grid = grid_of(captured, record.query_grid)
        relation = record.extra.get("relation")
        column = record.column(query.index) if relation is None else relation[query.index]
        values = column.reshape(grid.size).float().cpu().numpy()
        return ProbeMap(values, stride=grid.stride, offset=grid.offset, extras=record.cost)


class RegionProbe:
    """The soft region of one class: its softmax over the pixels (Eq. 2)."""

    def attach(self, model: nn.Module) -> AbstractContextManager[DenseCapture]:
        return _attend_over_classes(model)

    def map(self, captured: DenseCapture, query: Query, **options: Any) -> ProbeMap:
        extra = captured.record().extra
        scores = extra["regions"]
        _check_class(query.index, scores.shape[0])
        grid = grid_of(captured, (scores.shape[1], scores.shape[2]))
        if "relation" in extra:
            member = extra["relation"][query.index]
            values = member / member.sum().clamp(min=1)
        else:
            values = scores[query.index].flatten().softmax(0).reshape(grid.size)
        return ProbeMap(
            values.float().cpu().numpy(),
            stride=grid.stride,
            offset=grid.offset,
            rows_sum_to_one=bool(values.any()),
        )


def _check_class(index: int, count: int) -> None:
    if not 0 <= index < count:
        raise ValueError(f"there are {count} classes; {index} is none of them")


def relation_probe() -> RelationProbe:
    return RelationProbe()


def relation_map_probe() -> RelationMapProbe:
    return RelationMapProbe()


def region_probe() -> RegionProbe:
    return RegionProbe()


@contextmanager
def use_true_regions(model: OCRNet, value: str) -> Iterator[None]:
    """ "predicted", or "truth" (GT-OCR): regions and relations from `model.region_truth` (N, H, W).

    Raises ValueError where the model was given no labels.
    """
    head: Any = model.decode_head[1]  # type: ignore[index]
    before = head.truth
    if value == "truth":
        if model.region_truth is None:
            raise ValueError("GT-OCR needs the picture's labels, and this picture has none yet")
        head.truth = model.region_truth
    try:
        yield
    finally:
        head.truth = before
