"""The region a model proposes, on the canvas: its hatch, its chip, and the keys that answer it."""

from __future__ import annotations

from PySide6.QtCore import QObject, QPointF, QRectF, Signal
from PySide6.QtGui import QColor

from segstudio.runtime.proposals import Proposals, Region
from segstudio.ui.annotate.canvas import AnnotateCanvas
from segstudio.ui.annotate.ghost_chip import GhostChip
from segstudio.ui.annotate.ghost_layer import GhostLayer
from segstudio.ui.annotate.proposal_dock import ProposalDock
from segstudio.ui.room import Services
from segstudio.ui.widgets.numbers import grouped


class Ghost(QObject):
    """Follows the proposals; `changed` when another region, or none, is in front."""

    changed = Signal()

    def __init__(
        self,
        services: Services,
        canvas: AnnotateCanvas,
        layer: GhostLayer,
        proposals: Proposals,
        dock: ProposalDock,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._services, self._canvas, self._layer = services, canvas, layer
        self._proposals, self._dock = proposals, dock
        proposals.changed.connect(self.show)
        proposals.failed.connect(services.status.error)
        dock.region_shown.connect(self._bring_into_view)
        canvas.answered.connect(self._answer)
        services.session.undone.connect(lambda *_: proposals.set_threshold(proposals.threshold))

    def show(self) -> None:
        """Brings canvas and actions up to date."""
        proposals = self._proposals
        self._layer.set_regions(proposals.numbers, proposals.regions, proposals.current)
        self._canvas.show_chip(self._chip_of(proposals.current))
        for action_id in ("proposal.accept", "proposal.reject"):
            why = "No proposal on this image"
            self._services.actions.enable(action_id, proposals.current is not None, why_not=why)
        self.changed.emit()

    def _chip_of(self, region: Region | None) -> GhostChip | None:
        entry = self._services.session.class_of(region.class_index) if region is not None else None
        if region is None or entry is None:
            return None
        size = grouped(region.pixels)
        box = QRectF(region.rect.x0, region.rect.y0, region.rect.width, region.rect.height)
        return GhostChip(f"{entry.name} {region.confidence:.2f} · {size} px", QColor(*entry.color), box)

    def _answer(self, answer: str) -> None:
        (self._dock.accept if answer == "accept" else self._dock.reject)()

    def _bring_into_view(self, region: Region) -> None:
        """Only a region that is outside moves the picture."""
        rect = region.rect
        box = self._canvas.view_rect(QRectF(rect.x0, rect.y0, rect.width, rect.height))
        if not box.intersects(QRectF(self._canvas.rect())):
            middle = QPointF((rect.x0 + rect.x1) / 2, (rect.y0 + rect.y1) / 2)
            self._services.viewport.set_center(middle)
