"""Opens the card under a pane's name, does what is chosen on it, and tells what that costs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from PySide6.QtCore import QObject, QPoint, QTimer, Signal

from segstudio.core.metrics import mean_iou
from segstudio.runtime.comparison import Comparison
from segstudio.runtime.runnable_models import RunnableModel
from segstudio.runtime.scores import Scores
from segstudio.ui.compare.class_table import signed
from segstudio.ui.compare.stage import CompareStage
from segstudio.ui.compare.switches import SCALES, SwitchesCard
from segstudio.ui.room import Services

_WHEN_IDLE = -10  # of a request, against 0 of what somebody waits for


class PaneCard(QObject):
    """At most one card is open. `changed` tells the keys of the predictions that panes show since."""

    changed = Signal(object)

    def __init__(
        self, services: Services, comparison: Comparison, stage: CompareStage, scores: Scores
    ) -> None:
        super().__init__(stage)
        predictions, shelf = services.predictions, services.shelf
        assert predictions is not None and shelf is not None
        self._services, self._session = services, services.session
        self._comparison, self._stage, self._scores = comparison, stage, scores
        self._predictions, self._shelf = predictions, shelf
        self._open: tuple[int, SwitchesCard] | None = None
        self._outputs: dict[str, tuple[str, ...] | None] = {}  # by model; None while the worker is asked
        predictions.ready.connect(self._has_run)
        stage.wants_switches.connect(self.open)
        comparison.panes_changed.connect(self._place_later)
        comparison.layout_changed.connect(self._place_later)

    def open(self, number: int) -> None:
        """The card under the pane's name; the same press closes it."""
        was = self.close()
        pane, view, image = self._comparison.pane(number), self._stage.view_of(number), self._session.image
        if was == number or pane is None or pane.runnable is None or view is None:
            return
        spec = self._shelf.find(str(pane.runnable.ref["model"]))
        if spec is None or image is None or not image.width:
            return
        card = SwitchesCard(
            spec.switches,
            pane.switches,
            self._stage,
            outputs=spec.outputs,
            output=pane.runnable.output,
            class_names=pane.runnable.class_names,
            scale=pane.scale,
            size=(image.width, image.height),
        )
        card.changed.connect(lambda values: self._change(number, switches=values))
        card.output_chosen.connect(lambda name: self._change(number, output=name))
        card.scale_chosen.connect(lambda scale: self._change(number, scale=scale))
        card.sweep_wanted.connect(lambda: self._sweep(number))
        card.show()
        card.raise_()
        self._open = (number, card)
        self._ask_outputs(pane.runnable)
        self._show_outputs()
        self._place()
        self.show_loss()

    def close(self) -> int:
        """Gives the number of the pane whose card was open, 0 where there was none."""
        if self._open is None:
            return 0
        number, card = self._open
        self._open = None
        card.close()
        return number

    def show_loss(self) -> None:
        """What the choices on the card cost on this image: against the final output, the picture's own size,
        or the trained model.
        """
        current = self._session.current
        pane = self._comparison.pane(self._open[0]) if self._open is not None else None
        if self._open is None or pane is None or current is None:
            return
        card = self._open[1]
        baseline = pane.baseline
        if baseline is None:
            card.show_loss("As trained", "", worse=False)
            return
        against = "Against the trained model"
        if not pane.switches:
            against = "Against the final output" if pane.scale == 1.0 else "Against the own size"
        own = [
            entry.index for entry in self._predictions.space.classes if entry.in_project and not entry.ignore
        ]
        values = []
        for each in (baseline, pane):
            matrix = self._scores.get(each.key, current.id)
            if matrix is None or not matrix.any():
                card.show_loss(against, "", worse=False)
                return
            values.append(mean_iou(matrix, own))
        change = values[1] - values[0]
        card.show_loss(against, f"mIoU {signed(change)}", worse=change < 0)

    def _has_run(self, key: str, _image_id: int) -> None:
        for pane in self._comparison.models:
            if pane.key == key and pane.runnable is not None:
                self._ask_outputs(pane.runnable)

    def _ask_outputs(self, runnable: RunnableModel) -> None:
        """Asks, once a model has run or its card opens, which of its declared outputs these weights have."""
        worker, spec = self._services.worker, self._shelf.find(str(runnable.ref["model"]))
        if worker is None or spec is None or not spec.outputs or runnable.key in self._outputs:
            return
        key = runnable.key
        self._outputs[key] = None
        call = worker.request("outputs", priority=_WHEN_IDLE, model=runnable.ref)

        def take(values: dict[str, Any]) -> None:
            self._outputs[key] = tuple(str(name) for name in values["outputs"])
            self._show_outputs()

        call.finished.connect(take)
        call.failed.connect(lambda _error: self._outputs.pop(key, None))
        call.cancelled.connect(lambda: self._outputs.pop(key, None))

    def _show_outputs(self) -> None:
        pane = self._comparison.pane(self._open[0]) if self._open is not None else None
        known = self._outputs.get(pane.runnable.key) if pane is not None and pane.runnable else None
        if self._open is not None and known is not None:
            self._open[1].show_outputs(known)

    # ------------------------------------------------------------------ place

    def _place(self) -> None:
        """The card stays in the corner of its pane, and goes with it."""
        if self._open is None:
            return
        view = self._stage.view_of(self._open[0])
        if view is None or view.isHidden() or self._comparison.layout != "grid":
            self.close()
        else:
            self._open[1].move(view.canvas.mapTo(self._stage, QPoint(8, 8)))

    def _place_later(self) -> None:
        """After the panes have found their places."""
        QTimer.singleShot(0, self, self._place)

    # ------------------------------------------------------------------ choices

    def _change(
        self,
        number: int,
        *,
        switches: dict[str, object] | None = None,
        output: str | None = None,
        scale: float | None = None,
    ) -> None:
        if switches is not None:
            self._comparison.set_switches(number, switches)
        if output is not None:
            self._comparison.set_output(number, output)
        if scale is not None:
            self._comparison.set_scale(number, scale)
        pane = self._comparison.pane(number)
        self.changed.emit({pane.key} if pane is not None else set())
        self.show_loss()

    def _sweep(self, number: int) -> None:
        """The pane's model at every input size, side by side."""
        self.close()
        pane = self._comparison.pane(number)
        if pane is None or pane.runnable is None:
            return
        made = self._comparison.sweep(number, SCALES)
        wanted = {replace(pane, runnable=pane.runnable.with_scale(scale)).key for scale in SCALES}
        if not wanted <= {each.key for each in self._comparison.models}:
            self._services.status.notice.emit("Nine panes are the most that fit", "", None)
        self.changed.emit({each.key for each in made})
