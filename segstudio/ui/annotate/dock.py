"""The right column of Annotate: classes, a model's proposal, and the history with what height is left."""

from __future__ import annotations

from PySide6.QtWidgets import QFrame, QVBoxLayout

from segstudio.ui.annotate.class_dock import ClassDock
from segstudio.ui.annotate.history_list import HistoryList
from segstudio.ui.annotate.proposal_dock import ProposalDock
from segstudio.ui.widgets.section import FoldSection

LEAST_WIDTH, MOST_WIDTH = 240, 480
_HISTORY_LEAST = 33 + 3 * 26
_FOLDED = 33


class AnnotateDock(QFrame):
    """Puts the sections one over the other and shares the height among them."""

    def __init__(self, classes: ClassDock, proposal: ProposalDock | None, history: HistoryList) -> None:
        super().__init__()
        self.setObjectName("Dock")
        self.setMinimumWidth(LEAST_WIDTH)
        self.setMaximumWidth(MOST_WIDTH)
        self._classes, self._proposal, self._rows = classes, proposal, history.rows
        self._history = FoldSection("History", key="history")
        self._history.set_body(history, stretch=True)
        column = QVBoxLayout(self)
        column.setContentsMargins(1, 0, 0, 0)
        column.setSpacing(0)
        for section in (classes, proposal, self._history):
            if section is not None:
                column.addWidget(section, 1 if section is self._history else 0)
                section.folded_changed.connect(self.fit_heights)
        column.addStretch(0)

    def set_compact(self, compact: bool) -> None:
        """A low window: fewer words in the class table, and the history folded unless a person chose."""
        self._classes.set_compact(compact)
        self._history.fold_by_default(compact)

    def fit_heights(self) -> None:
        """The class table takes what proposal and history leave; on a low window it scrolls first."""
        others = _FOLDED if self._history.folded else _HISTORY_LEAST
        if self._proposal is not None and self._proposal.isVisibleTo(self):
            others += self._proposal.sizeHint().height()
        self._classes.set_most(self.height() - others)

    def count_steps(self) -> None:
        """Tell the number of steps in the history's header."""
        steps = self._rows.rowCount()
        self._history.set_count(f"{steps} steps" if steps > 1 else "1 step" if steps else "")
