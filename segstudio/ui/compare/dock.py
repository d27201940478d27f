"""The figures of the Compare tab: IoU by class, confusion, cost, other measures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from segstudio.core.class_space import SharedClass
from segstudio.core.metrics import class_iou, mean_iou
from segstudio.runtime.comparison import Comparison, Pane
from segstudio.runtime.mask_result import MaskResult
from segstudio.runtime.predictions import Predictions
from segstudio.runtime.scores import Scores
from segstudio.runtime.turns import Turns
from segstudio.ui.compare.class_table import ClassRow, ClassTable, percent
from segstudio.ui.compare.confusion_view import ConfusionView
from segstudio.ui.compare.side_tables import (
    COST_HEADS,
    COST_WIDTHS,
    MEASURE_HEADS,
    MEASURE_WIDTHS,
    PaneRow,
    PaneTable,
    cost_values,
    measure_values,
)
from segstudio.ui.room import Services
from segstudio.ui.widgets.empty_state import EmptyState
from segstudio.ui.widgets.section import FoldSection
from segstudio.ui.widgets.segmented import SegmentedControl

WIDTH, NARROWEST, WIDEST = 412, 320, 560


class CompareDock(QFrame):
    """Shows sums of confusion matrices; `scores_changed` tells the words for the panes' headers."""

    scores_changed = Signal(object)
    label_wanted = Signal()

    def __init__(
        self,
        services: Services,
        comparison: Comparison,
        predictions: Predictions,
        scores: Scores,
        result_of: Callable[[Pane], MaskResult | None],
    ) -> None:
        super().__init__()
        self._stale = True
        self._is_made = False
        self._turns = Turns(self)
        self.setObjectName("Dock")
        self.setMinimumWidth(NARROWEST)
        self.setMaximumWidth(WIDEST)
        self._session = services.session
        self._comparison, self._predictions, self._scores = comparison, predictions, scores
        self._result_of = result_of
        self._column = self._make_column()

    def _make_column(self) -> QVBoxLayout:
        inside = QWidget()
        inside.setObjectName("Plain")
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setWidget(inside)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(1, 0, 0, 0)
        outer.addWidget(scroll)
        return column

    def _add(self, section: FoldSection) -> None:
        self._column.insertWidget(self._column.count() - 1, section)

    def parts(self) -> Iterator[None]:
        """Makes the sections one by one; nothing else is asked of the dock before."""
        self.per_class = FoldSection("Per class", key="compare.classes")
        self._add(self.per_class)
        body = QWidget()
        inside = QVBoxLayout(body)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.setSpacing(0)
        self.per_class.set_body(body)
        yield
        self.table = ClassTable()
        inside.addWidget(self.table)
        yield
        self._empty = EmptyState("table", "No scores yet", "", button="Label it now", keys="Alt+1")
        self._empty.setMinimumHeight(220)
        self._empty.clicked.connect(self.label_wanted)
        inside.addWidget(self._empty)
        self.scope = SegmentedControl(["This image", "All 0"], tall=24, name="Images that are counted")
        self.per_class.add_action(self.scope)
        yield
        self.confusion_section = FoldSection("Confusion", key="compare.confusion")
        self._add(self.confusion_section)
        self.confusion = ConfusionView()
        self.confusion_section.set_body(self.confusion)
        yield
        self.cost_section = FoldSection("Cost", key="compare.cost")
        self._add(self.cost_section)
        self.cost = PaneTable(COST_HEADS, COST_WIDTHS)
        self.cost_section.set_body(self.cost)
        yield
        self.measures_section = FoldSection("Other measures", key="compare.measures", folded=True)
        self._add(self.measures_section)
        self.measures = PaneTable(MEASURE_HEADS, MEASURE_WIDTHS)
        self.measures_section.set_body(self.measures)
        yield
        self._connect()
        self._is_made = True
        self.refresh()

    def _connect(self) -> None:
        comparison = self._comparison
        self.scope.changed.connect(self.refresh)
        self.table.isolated.connect(comparison.isolate)
        self.confusion.shown.connect(self._show_confused)
        self._scores.changed.connect(self.refresh)
        self._session.current_changed.connect(self.refresh)
        self._session.labels_loaded.connect(self.refresh)
        self._session.labels_changed.connect(self.refresh)
        self._predictions.ready.connect(self.refresh)
        self._predictions.space_changed.connect(self.refresh)
        self._predictions.costs.changed.connect(self.refresh)
        for signal in (
            comparison.panes_changed,
            comparison.active_changed,
            comparison.reference_changed,
        ):
            signal.connect(self.refresh)
        comparison.pane_changed.connect(self.refresh)
        comparison.isolated_changed.connect(self._show_isolated)

    # ------------------------------------------------------------------ what is counted

    def images_counted(self) -> list[int]:
        """The validation images, or all where the project has no such part."""
        images = self._session.images
        part = [record.id for record in images if record.split == "val"]
        return part or [record.id for record in images]

    def _scope_word(self) -> str:
        return "Val" if any(record.split == "val" for record in self._session.images) else "All"

    def matrix_of(self, pane: Pane) -> tuple[NDArray[np.int64] | None, int]:
        """The pane's matrix over the images that are counted, and how many those are."""
        current = self._session.current
        if self.scope.current == 1:
            total, count = self._scores.total(pane.key, self.images_counted())
            return (total, count) if count else (None, 0)
        if current is None:
            return None, 0
        matrix = self._scores.get(pane.key, current.id)
        return (matrix, 1) if matrix is not None and matrix.any() else (None, 0)

    # ------------------------------------------------------------------ showing

    def refresh(self) -> None:
        """Brings all figures up to date, a section a turn: now, or when they come into view again."""
        self._stale = not self.isVisible()
        self._turns.clear()
        if not self._stale:
            self._turns.add(self._refresh)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._is_made and self._stale:
            self.refresh()

    def _refresh(self) -> None:
        space = self._predictions.space
        counted = [entry for entry in space.classes if not entry.ignore]
        own = [entry.index for entry in counted if entry.in_project]
        models = self._comparison.models
        found = {pane.number: self.matrix_of(pane) for pane in models}
        self._count_scope(models)
        words = {}
        for number, (matrix, _count) in found.items():
            words[number] = f"mIoU {percent(mean_iou(matrix, own))}" if matrix is not None else ""
        self.scores_changed.emit(words)
        self._turns.add(
            lambda: self._show_table(counted, own, found),
            lambda: self._show_confusion(counted, found),
            lambda: self._show_side_tables(own, found),
        )

    def _count_scope(self, models: tuple[Pane, ...]) -> None:
        """How many images are scored for all models."""
        counts = [self._scores.total(pane.key, self.images_counted())[1] for pane in models]
        self.scope.set_text(1, f"{self._scope_word()} {min(counts, default=0)}")

    def _show_table(
        self,
        counted: list[SharedClass],
        own: list[int],
        found: dict[int, tuple[NDArray[np.int64] | None, int]],
    ) -> None:
        pair = [pane for pane in self._comparison.pair if found[pane.number][0] is not None]
        self.table.setVisible(bool(pair))
        self._empty.setVisible(not pair)
        if not pair:
            self._explain()
            self.table.table_model.show([], ("A",), ())
            return
        matrices = [found[pane.number][0] for pane in pair]
        known = [matrix for matrix in matrices if matrix is not None]
        ious = [class_iou(matrix) for matrix in known]
        truth = known[0].sum(1)
        total = max(int(truth.sum()), 1)
        rows = []
        for entry in counted:
            values = [float(iou[entry.index]) if entry.index < len(iou) else math.nan for iou in ious]
            if not entry.in_project and all(math.isnan(value) for value in values):
                continue
            share = float(truth[entry.index]) / total if entry.index < len(truth) else 0.0
            second = values[1] if len(values) == 2 else None
            rows.append(ClassRow(entry.index, entry.name, entry.color, values[0], second, share))
        letters = tuple(self._comparison.letter(pane.number) for pane in pair)
        self.table.table_model.show(rows, letters, tuple(mean_iou(matrix, own) for matrix in known))
        self._show_isolated()

    def _explain(self) -> None:
        """Why there are no scores."""
        counts, labels = self._session.class_counts, self._session.label_map
        has_labels = labels is not None and any(
            n > 0 for index, n in counts.items() if index != labels.ignore
        )
        if not self._comparison.models:
            self._empty.set_texts("No scores yet", "Add a model, and its IoU for each class appears here.")
        elif self.scope.current == 1:
            self._empty.set_texts("No image is scored yet", "Run the models on all labelled images.")
        elif not has_labels:
            self._empty.set_texts(
                "No ground truth for this image", "Masks can be seen side by side. Scores need labels."
            )
        else:
            self._empty.set_texts("Not scored yet", "Run the models, and the table fills by itself.")
        self._empty.offer(bool(self._comparison.models) and not has_labels and self.scope.current == 0)

    def _show_confusion(
        self, counted: list[SharedClass], found: dict[int, tuple[NDArray[np.int64] | None, int]]
    ) -> None:
        pane = self.confusion_pane()
        matrix, count = found.get(pane.number, (None, 0)) if pane is not None else (None, 0)
        self.confusion_section.setVisible(matrix is not None)
        if pane is None or matrix is None:
            return
        self.confusion_section.set_count(f"of {self._comparison.letter(pane.number)} · row = truth")
        self.confusion.show_matrix(matrix, counted, count)

    def confusion_pane(self) -> Pane | None:
        """The model in front, or the first."""
        active, pair = self._comparison.active, self._comparison.pair
        if active is not None and active.kind == "model":
            return active
        return pair[0] if pair else None

    def _show_side_tables(
        self, own: list[int], found: dict[int, tuple[NDArray[np.int64] | None, int]]
    ) -> None:
        costs, measures = [], []
        for pane in self._comparison.models:
            letter, result = self._comparison.letter(pane.number), self._result_of(pane)
            if result is not None:
                costs.append(
                    PaneRow(letter, pane.title, cost_values(result.info, self._predictions.cost(result)))
                )
            matrix = found[pane.number][0]
            if matrix is not None:
                measures.append(PaneRow(letter, pane.title, measure_values(matrix, own)))
        self.cost_section.setVisible(bool(costs))
        self.measures_section.setVisible(bool(measures))
        self.cost.show_rows(costs)
        self.measures.show_rows(measures)
        image = self._session.image
        if image is not None and image.width:
            self.cost_section.set_count(f"at {image.width} × {image.height}")

    def _show_isolated(self) -> None:
        self.table.select_class(self._comparison.isolated)
        self.confusion.set_shown(self._comparison.confused)

    def _show_confused(self, cell: tuple[int, int] | None) -> None:
        if cell != self._comparison.confused:
            self._comparison.show_confused(cell)
