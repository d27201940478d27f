"""The proposal section of the dock: choose a model, run it, accept or reject its regions."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtGui import QColor, QResizeEvent
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from segstudio.runtime.model_shelf import ModelShelf
from segstudio.runtime.proposals import Proposals
from segstudio.runtime.runnable_models import RunnableModel
from segstudio.runtime.session import ProjectSession
from segstudio.ui.canvas.tools.paint_state import PaintState
from segstudio.ui.widgets.buttons import push_button
from segstudio.ui.widgets.choice_box import ChoiceBox
from segstudio.ui.widgets.labels import ElidedLabel, key_cap, label, tag
from segstudio.ui.widgets.mark import Swatch
from segstudio.ui.widgets.section import FoldSection
from segstudio.ui.widgets.slider import Slider


class ProposalDock(FoldSection):
    """`region_shown(Region)` when another region came into the hand."""

    region_shown = Signal(object)

    def __init__(
        self, session: ProjectSession, shelf: ModelShelf, proposals: Proposals, state: PaintState
    ) -> None:
        super().__init__("Model proposal", key="proposal")
        self._session, self._shelf, self._proposals, self._state = session, shelf, proposals, state
        self._models: tuple[RunnableModel, ...] = ()
        self._ghost = tag("ghost", "accent")
        self.add_action(self._ghost)
        body = QWidget()
        column = QVBoxLayout(body)
        column.setContentsMargins(8, 8, 8, 8)
        column.setSpacing(8)
        column.addLayout(self._model_row())
        column.addLayout(self._confidence_row())
        column.addWidget(self._over_labels())
        self._details = QWidget()
        details = QVBoxLayout(self._details)
        details.setContentsMargins(0, 0, 0, 0)
        details.setSpacing(8)
        details.addLayout(self._region_row())
        details.addLayout(self._answer_row())
        details.addLayout(self._more_row())
        column.addWidget(self._details)
        self._note = label("", role="t2", size=12)
        self._note.setWordWrap(True)
        column.addWidget(self._note)
        self.set_body(body)
        shelf.changed.connect(self._refill)
        proposals.changed.connect(self._show)
        self._refill()
        self._show()

    @property
    def has_models(self) -> bool:
        return bool(self._models)

    @property
    def chosen_model(self) -> RunnableModel | None:
        """The model in the list's field, None without one."""
        place = self.model.currentIndex()
        return self._models[place] if 0 <= place < len(self._models) else None

    def run(self) -> None:
        """Run the chosen model on the image in front."""
        if self.chosen_model is not None:
            self.set_folded(False)
            self._proposals.run(self.chosen_model)

    def accept(self) -> None:
        """Y."""
        self._proposals.accept(self._state.locked)

    def reject(self) -> None:
        """N."""
        self._proposals.reject()

    def _model_row(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(8)
        self.model = ChoiceBox("Model")
        self._chosen = ""
        self.model.textActivated.connect(self._remember_choice)
        row.addWidget(self.model, 1)
        self.run_button = push_button("Run", icon_name="play")
        self.run_button.setToolTip("Ask the model about this image  F9")
        self.run_button.clicked.connect(self.run)
        row.addWidget(self.run_button)
        self._key = key_cap("F9")
        row.addWidget(self._key)
        return row

    def _confidence_row(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(label("Confidence", role="t2", size=12))
        self.confidence = Slider(0, 99, 50, width=104, name="Least confidence")
        self.confidence.valueChanged.connect(self._threshold_moved)
        row.addWidget(self.confidence)
        row.addStretch(1)
        self._over = label("over 0.50", size=12)
        row.addWidget(self._over)
        return row

    def _over_labels(self) -> QCheckBox:
        box = QCheckBox("Also where there are labels")
        box.setToolTip("Propose changes of pixels that have another label, not only of unlabelled ones")
        box.toggled.connect(self._proposals.set_over_labels)
        self.over_labels = box
        return box

    def _region_row(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(8)
        self._swatch = Swatch()
        row.addWidget(self._swatch)
        self._region = ElidedLabel("", size=12)
        row.addWidget(self._region, 1)
        self._sure = label("", role="t2", size=12)
        row.addWidget(self._sure)
        return row

    def _answer_row(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(8)
        self.accept_button = push_button("Accept region  Y", kind="primary")
        self.accept_button.clicked.connect(self.accept)
        self.reject_button = push_button("Reject  N")
        self.reject_button.clicked.connect(self.reject)
        for button in (self.accept_button, self.reject_button):
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            row.addWidget(button, 1)
        return row

    def _more_row(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(8)
        self.class_button = push_button("Accept class", tall=24)
        self.class_button.clicked.connect(lambda: self._proposals.accept_class(self._state.locked))
        self.all_button = push_button("Accept all", tall=24)
        self.all_button.clicked.connect(lambda: self._proposals.accept_all(self._state.locked))
        row.addWidget(self.class_button)
        row.addWidget(self.all_button)
        row.addStretch(1)
        self._spent = label("", role="t2", size=12)
        row.addWidget(self._spent)
        return row

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._key.setVisible(self.width() >= 300)
        super().resizeEvent(event)

    def _threshold_moved(self, percent: int) -> None:
        self._over.setText(f"over {percent / 100:.2f}")
        self._proposals.set_threshold(percent / 100)

    def _remember_choice(self, title: str) -> None:
        self._chosen = title

    def _refill(self) -> None:
        # What stands there only because it was listed first gives way to the models that suit better.
        kept = self._chosen
        self._models = self._shelf.runnable
        self.model.blockSignals(True)
        self.model.clear()
        self.model.addItems([model.title for model in self._models])
        self.model.setCurrentText(kept)
        self.model.blockSignals(False)
        self.setVisible(bool(self._models))

    def _show(self) -> None:
        proposals = self._proposals
        region = proposals.current
        self._ghost.setVisible(region is not None)
        self.run_button.setEnabled(not proposals.is_running)
        self.run_button.setText("Running…" if proposals.is_running else "Run")
        self._details.setVisible(region is not None)
        spent = proposals.milliseconds
        finished = spent is not None and region is None and not proposals.is_running
        self._note.setVisible(finished)
        self._note.setText("No region left that lacks a label." if finished else "")
        if region is None:
            return
        entry = self._session.class_of(region.class_index)
        name = entry.name if entry is not None else f"class {region.class_index}"
        self._swatch.show_color(QColor(*entry.color) if entry is not None else None)
        self._region.setText(f"{name} · region {proposals.place + 1} of {len(proposals.regions)}")
        self._region.update()
        self._sure.setText(f"{region.confidence:.2f}")
        self.all_button.setText(f"Accept all {len(proposals.regions)}")
        self._spent.setText(_spent_text(spent))
        self.region_shown.emit(region)


def _spent_text(milliseconds: float | None) -> str:
    """ "412 ms", or "4.1 s" where milliseconds say more than anybody wants to read."""
    if milliseconds is None:
        return ""
    return f"{milliseconds:.0f} ms" if milliseconds < 2000 else f"{milliseconds / 1000:.1f} s"
