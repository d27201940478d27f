"""Small tables of the dock, one row a pane: cost, and measures that follow from the confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtWidgets import QHeaderView

from segstudio.runtime.run_costs import RunCost
from segstudio.ui.compare.class_table import percent
from segstudio.ui.widgets.numbers import grouped
from segstudio.ui.widgets.table import RowDelegate, RowTable

Index = QModelIndex | QPersistentModelIndex


@dataclass(frozen=True, slots=True)
class PaneRow:
    """A pane's letter, its name and its figures as they are written."""

    letter: str
    name: str
    values: tuple[str, ...]


class _Model(QAbstractTableModel):
    def __init__(self, heads: Sequence[str]) -> None:
        super().__init__()
        self._heads = ("", "Pane", *heads)
        self.rows: list[PaneRow] = []

    def show(self, rows: Sequence[PaneRow]) -> None:
        self.beginResetModel()
        self.rows = list(rows)
        self.endResetModel()

    def rowCount(self, parent: Index | None = None) -> int:
        return len(self.rows)

    def columnCount(self, parent: Index | None = None) -> int:
        return len(self._heads)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self._heads[section]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if section > 1 else Qt.AlignmentFlag.AlignLeft
            return int(side | Qt.AlignmentFlag.AlignVCenter)
        return None

    def data(self, index: Index, role: int = 0) -> Any:
        row, column = self.rows[index.row()], index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return (row.letter, row.name, *row.values)[column]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignRight if column > 1 else Qt.AlignmentFlag.AlignLeft)
        if role == Qt.ItemDataRole.ForegroundRole and column == 0:
            return "t2"
        return None


class PaneTable(RowTable):
    """Letter, name, and right-aligned figures under `heads`; as high as its rows."""

    def __init__(self, heads: Sequence[str], widths: Sequence[int]) -> None:
        super().__init__()
        self.table_model = _Model(heads)
        self.setModel(self.table_model)
        self.use_delegate(RowDelegate(self, padding=8))
        self.setSelectionMode(RowTable.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        head = self.horizontalHeader()
        head.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.setColumnWidth(0, 28)
        head.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        for place, width in enumerate(widths):
            self.setColumnWidth(place + 2, width)

    def show_rows(self, rows: Sequence[PaneRow]) -> None:
        self.table_model.show(rows)
        self.setFixedHeight(24 + len(rows) * self.verticalHeader().defaultSectionSize())


COST_HEADS, COST_WIDTHS = ("M par.", "GFLOPs", "ms", "MB"), (56, 60, 48, 56)
MEASURE_HEADS, MEASURE_WIDTHS = ("Accuracy", "Mean acc.", "Dice"), (66, 70, 52)


def cost_values(info: Mapping[str, Any], cost: RunCost) -> tuple[str, ...]:
    """Parameters in millions, GFLOPs, milliseconds and peak megabytes of one run; a dash where unknown."""
    parameters, peak = info.get("parameters"), info.get("peak_bytes")
    flops, milliseconds = cost.flops, cost.milliseconds
    return (
        f"{parameters / 1e6:.1f}" if parameters else "–",
        f"{flops / 1e9:.0f}" if flops and flops >= 1e10 else (f"{flops / 1e9:.1f}" if flops else "–"),
        f"{milliseconds:.0f}" if milliseconds else "–",
        grouped(peak / 2**20) if peak else "–",
    )


def measure_values(matrix: NDArray[np.int64], counted: Sequence[int]) -> tuple[str, ...]:
    """Pixel accuracy, mean class accuracy and mean Dice over the classes `counted` that occur."""
    hits, rows, columns = np.diag(matrix).astype(float), matrix.sum(1), matrix.sum(0)
    inside = [index for index in counted if index < len(matrix)]
    accuracy = hits.sum() / rows.sum() if rows.sum() else math.nan
    accuracies = [hits[i] / rows[i] for i in inside if rows[i]]
    dices = [2 * hits[i] / (rows[i] + columns[i]) for i in inside if rows[i] + columns[i]]
    means = [float(np.mean(values)) if values else math.nan for values in (accuracies, dices)]
    return (percent(float(accuracy)), percent(means[0]), percent(means[1]))
