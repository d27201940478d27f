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

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("Dock")
        self.setMinimumWidth(LEAST_WIDTH)
        self.setMaximumWidth(MOST_WIDTH)
        self._classes: ClassDock | None = None
        self._proposal: ProposalDock | None = None
        self._history: FoldSection | None = None
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(1, 0, 0, 0)
        self._column.setSpacing(0)

    def add_classes(self, classes: ClassDock) -> None:
        self._classes = classes
        self._add(classes)

    def add_proposal(self, proposal: ProposalDock) -> None:
        self._proposal = proposal
        self._add(proposal)

    def add_history(self, history: HistoryList) -> None:
        """The last one: it takes what height is left."""
        self._rows = history.rows
        self._history = FoldSection("History", key="history")
        self._history.set_body(history, stretch=True)
        self._add(self._history, 1)
        self._column.addStretch(0)

    def _add(self, section: FoldSection, stretch: int = 0) -> None:
        self._column.addWidget(section, stretch)
        section.folded_changed.connect(self.fit_heights)

    def set_compact(self, compact: bool) -> None:
        """A low window: fewer words in the class table, and the history folded unless a person chose."""
        if self._classes is not None:
            self._classes.set_compact(compact)
        if self._history is not None:
            self._history.fold_by_default(compact)

    def fit_heights(self) -> None:
        """The class table takes what proposal and history leave; on a low window it scrolls first."""
        if self._history is None:
            return  # not whole yet
        others = _FOLDED if self._history.folded else _HISTORY_LEAST
        if self._proposal is not None and self._proposal.isVisibleTo(self):
            others += self._proposal.sizeHint().height()
        if self._classes is not None:
            self._classes.set_most(self.height() - others)

    def count_steps(self) -> None:
        """Tell the number of steps in the history's header."""
        steps = self._rows.rowCount()
        if self._history is not None:
            self._history.set_count(f"{steps} steps" if steps > 1 else "1 step" if steps else "")
