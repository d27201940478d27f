"""What one pane paints: the layers of its view, from its masks, the reference and the other models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, QRect
from PySide6.QtGui import QPainter

from segstudio.runtime.comparison import View
from segstudio.ui.canvas.color_maps import argb_table
from segstudio.ui.canvas.frame import Frame
from segstudio.ui.canvas.layers import CompareLayer, ErrorLayer, ImageLayer, LabelLayer, Layer, ValueLayer

Color = tuple[int, int, int]

GREY_BRIGHTNESS = 0.62


@dataclass(slots=True)
class PaneContent:
    """Everything a pane may draw, in one numbering of classes. Maps are (H, W)."""

    labels: NDArray[Any] | None = None
    ignore: int = 255
    confidence: NDArray[np.uint8] | None = None
    entropy: NDArray[np.uint8] | None = None
    reference: NDArray[Any] | None = None
    reference_ignore: int = 255
    other: NDArray[Any] | None = None
    band: NDArray[np.bool_] | None = None
    models: Sequence[NDArray[Any]] = field(default=())


class PaneLayers(QObject):
    """The layers of one pane. The two pictures (in colour and greyed) belong to all panes together."""

    def __init__(self, picture: ImageLayer, greyed: ImageLayer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._picture, self._greyed = picture, greyed
        self._labels = LabelLayer(self)
        self._errors = ErrorLayer(self)
        self._confidence = ValueLayer("Ember", self)
        self._confidence.set_table(confidence_table())
        self._entropy = ValueLayer("Ember", self)
        self._agreement = CompareLayer(agreement_of_first, agreement_table(), self)
        self._content = PaneContent()
        self._view: View = "mask"
        self._confused: tuple[int, int] | None = None

    def set_colors(self, colors: Sequence[Color]) -> None:
        self._labels.set_colors(colors)
        self._errors.set_colors(colors)

    def set_opacity(self, opacity: float) -> None:
        self._labels.set_opacity(opacity)

    def set_overlay(self, visible: bool) -> None:
        """Everything over the picture on or off."""
        for layer in (self._labels, self._errors, self._confidence, self._entropy, self._agreement):
            layer.visible = visible

    def set_isolated(self, class_index: int | None, confused: tuple[int, int] | None) -> None:
        self._confused = confused
        self._labels.set_isolated(class_index)
        self._errors.set_isolated(class_index)
        self._errors.set_confused(confused)

    def update_labels(self, rect: QRect) -> None:
        """Labels were changed in place."""
        self._labels.update_labels(rect)

    def set_content(self, content: PaneContent, view: View) -> None:
        """New masks or another view; ask for `layers` afterwards."""
        self._content, self._view = content, view
        self._labels.set_labels(content.labels, ignore=content.ignore)
        self._labels.set_outline(True, fill=view != "outline")
        if view == "difference":
            self._errors.set_maps(content.labels, content.other, ignore=-1)
        else:
            self._errors.set_maps(content.labels, content.reference, ignore=content.reference_ignore)
        self._errors.set_band(content.band)
        self._confidence.set_values(content.confidence)
        self._entropy.set_values(content.entropy)
        self._agreement.set_maps(content.models)

    @property
    def layers(self) -> list[Layer]:
        """Bottom first."""
        if self._content.labels is None:
            return [self._picture]
        if self._confused is not None and self._content.reference is not None:
            return [self._greyed, self._errors]
        views: dict[View, list[Layer]] = {
            "mask": [self._picture, self._labels],
            "outline": [self._picture, self._labels],
            "confidence": [self._greyed, self._confidence],
            "entropy": [self._greyed, self._entropy],
            "error": [self._greyed, self._errors],
            "agreement": [self._greyed, self._agreement],
            "difference": [self._greyed, self._errors],
        }
        return views[self._view]


class SideLayer(Layer):
    """Layers that are seen on one side of the curtain only."""

    def __init__(self, layers: Sequence[Layer], *, left: bool, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._layers = list(layers)
        self._left = left
        self._at = 0.5
        for layer in self._layers:
            layer.changed.connect(self.changed)

    def release(self) -> None:
        """Stops listening to the layers."""
        for layer in self._layers:
            layer.changed.disconnect(self.changed)

    def set_curtain(self, at: float) -> None:
        """`at` 0-1 of the view's width."""
        self._at = at
        self.changed.emit(None)

    def render(self, painter: QPainter, frame: Frame, clip: QRect) -> None:
        edge = round(frame.width * self._at)
        side = QRect(0, 0, edge, frame.height) if self._left else QRect(edge, 0, frame.width, frame.height)
        shown = clip & side
        if not shown.isEmpty():
            for layer in self._layers:
                if layer.visible:
                    layer.render(painter, frame, shown)


def confidence_table() -> list[int]:
    """Where a model is sure the picture stays as it is; the less sure, the brighter."""
    return argb_table("Ember")[::-1]


def agreement_of_first(maps: NDArray[Any]) -> NDArray[np.uint8]:
    """For (n, h, w) maps: how many of the others disagree with the most frequent answer, 0-255 of n - 1."""
    count = len(maps)
    if count < 2:
        return np.zeros(maps.shape[1:], np.uint8)
    votes = np.zeros(maps.shape[1:], np.uint8)
    for one in maps:
        votes = np.maximum(votes, (maps == one).sum(0, dtype=np.uint8))
    return ((count - votes).astype(np.float32) * (255 / (count - 1))).astype(np.uint8)


def agreement_table() -> list[int]:
    """Where all agree the picture stays as it is; the fewer agree, the brighter."""
    return argb_table("Ember")
