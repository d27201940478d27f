"""The button "Label next" in the image strip: unlabelled images in the order of a network's doubt."""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer

from segstudio.runtime.label_next import LabelNext
from segstudio.runtime.model_shelf import ModelShelf
from segstudio.runtime.session import ProjectSession
from segstudio.ui.annotate.proposal_dock import ProposalDock
from segstudio.ui.filmstrip import Filmstrip
from segstudio.ui.room import WindowStatus
from segstudio.ui.widgets.buttons import push_button

_SETTLE_MS = 300  # doubts come quickly: the strip is ordered again at most so often


class LabelNextOrder(QObject):
    """While it is on, the strip shows the ranking, and D and A walk it. The network is the proposal's."""

    def __init__(
        self,
        session: ProjectSession,
        label_next: LabelNext,
        shelf: ModelShelf,
        strip: Filmstrip,
        status: WindowStatus,
        proposal_dock: ProposalDock,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._session, self._label_next, self._shelf = session, label_next, shelf
        self._strip, self._status, self._dock = strip, status, proposal_dock
        self._is_front = False
        self._is_shown = False
        self.button = push_button("Label next", tall=24, icon_name="sort")
        self.button.setCheckable(True)
        self.button.setToolTip(
            "Label next  Shift+F9\nImages without labels: first those the chosen network is least sure of"
        )
        self.button.clicked.connect(self._turn)
        strip.add_control(self.button)
        self._settle = QTimer(self, singleShot=True, interval=_SETTLE_MS)
        self._settle.timeout.connect(self.show)
        label_next.changed.connect(self._settle.start)
        label_next.failed.connect(status.error)
        proposal_dock.model.textActivated.connect(self._ask_another)
        session.current_changed.connect(self.show)
        session.closed.connect(self._off)
        shelf.changed.connect(self._show_button)
        self._show_button()

    def toggle(self) -> None:
        """Order the strip by doubt, or as before."""
        self._turn(not self.button.isChecked())

    def activated(self) -> None:
        """The room is in front."""
        self._is_front = True
        self._show_button()
        self.show()

    def deactivated(self) -> None:
        """Another room takes the strip."""
        self.button.hide()
        if self._is_shown:
            self._strip.set_order("", None)
        self._is_front = self._is_shown = False

    def show(self) -> None:
        """Put the ranking of now into the strip."""
        model = self._label_next.model
        if not self._is_front:
            return
        if model is None:
            if self._is_shown:
                self._strip.set_order("", None)
            self._is_shown = False
            return
        ranked = self._label_next.ranked()
        words = {number: f"{100 * doubt:.1f} %" for number, doubt in ranked}
        title = f"Label next · doubt of {model.title}"
        self._strip.set_order(title, [number for number, _doubt in ranked], words)
        self._is_shown = True

    def _turn(self, on: bool) -> None:
        model = self._dock.chosen_model
        if on and all(record.status != "none" for record in self._session.images):
            self._status.notice.emit("Every image has labels", "", None)
            on = False
        self.button.setChecked(on and model is not None)
        if on and model is not None:
            self._label_next.start(model)
        else:
            self._label_next.stop()
        self.show()

    def _ask_another(self, _title: str) -> None:
        """A person chose another network while its order is shown."""
        if self.button.isChecked() and self._dock.chosen_model is not None:
            self._label_next.start(self._dock.chosen_model)

    def _off(self) -> None:
        self.button.setChecked(False)
        self.show()

    def _show_button(self) -> None:
        self.button.setVisible(self._is_front and bool(self._shelf.runnable))
