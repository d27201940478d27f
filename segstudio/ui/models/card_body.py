"""What stands on a network's card: paper, facts, classes, parts, addresses. None of it changes by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QRect, QSize, Qt, QUrl
from PySide6.QtGui import QColor, QDesktopServices, QPainter, QPaintEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from segstudio.runtime.network_search import class_names
from segstudio.runtime.published_weights import Offer, megabytes
from segstudio.ui.widgets.buttons import IconButton
from segstudio.ui.widgets.chip import paint_swatch
from segstudio.ui.widgets.labels import ElidedLabel, label, rule, tag

WIDTH = 376
_NAMED_CLASSES = 12

Copy = Callable[[str, str], None]
"""(what it is, text) -> the text lies on the clipboard."""


def card_body(offer: Offer, copy: Copy) -> QWidget:
    """Everything that does not change while a file is fetched."""
    spec, checkpoint = offer.spec, offer.checkpoint
    body = QWidget()
    body.setObjectName("Plain")
    column = QVBoxLayout(body)
    column.setContentsMargins(16, 16, 16, 16)
    column.setSpacing(4)
    title = label(spec.title, size=17, strong=600)
    title.setWordWrap(True)
    column.addWidget(title)
    if offer.runnable is not None and offer.runnable.title != spec.title:
        column.addWidget(_wrapped(offer.runnable.title, "t2"))
    if checkpoint is not None:
        marks = QHBoxLayout()
        marks.setSpacing(8)
        checked = checkpoint.layout_checked
        mark = tag(f"key layout {'' if checked else 'not '}checked", "ok" if checked else "warn")
        mark.setToolTip(
            f"Names and shapes of this family's weights were {'' if checked else 'not '}compared with a "
            "reference implementation"
        )
        marks.addWidget(mark)
        marks.addStretch(1)
        column.addSpacing(4)
        column.addLayout(marks)
    if spec.paper_title or spec.authors:
        column.addSpacing(12)
        if spec.paper_title:
            column.addWidget(_wrapped(spec.paper_title, "t1", strong=500))
        said = ", ".join(filter(None, (spec.venue, str(spec.year) if spec.year else "")))
        column.addWidget(_wrapped(" · ".join(filter(None, (spec.authors, said))), "t2"))
    if spec.paper:
        column.addLayout(_address_row(spec.paper, "Address of the paper", copy))
    column.addSpacing(12)
    column.addWidget(rule())
    column.addSpacing(8)
    column.addLayout(_facts(offer))
    names = class_names(offer)
    if names:
        column.addSpacing(12)
        column.addWidget(label(f"{len(names)} classes", size=12, strong=600))
        column.addWidget(_SwatchStrip([color for _, color in names]))
        shown = ", ".join(name for name, _ in names[:_NAMED_CLASSES])
        more = len(names) - _NAMED_CLASSES
        column.addWidget(_wrapped(shown + (f" and {more} more" if more > 0 else ""), "t2"))
    if spec.parts:
        column.addSpacing(12)
        column.addWidget(label("Parts", size=12, strong=600))
        for part in spec.parts:
            column.addWidget(_wrapped(part[:1].upper() + part[1:], "t2"))
    if checkpoint is not None and checkpoint.url:
        column.addSpacing(12)
        column.addWidget(label("Where the file lies", size=12, strong=600))
        column.addLayout(_address_row(checkpoint.url, "Address of the file", copy))
        if checkpoint.sha256:
            column.addWidget(_wrapped(f"SHA-256 begins with {checkpoint.sha256[:8]}", "t2"))
    column.addStretch(1)
    return body


def _facts(offer: Offer) -> QGridLayout:
    spec, checkpoint = offer.spec, offer.checkpoint
    rows: list[tuple[str, str]] = []
    if checkpoint is not None:
        rows.append(("Data set", offer.dataset))
        metrics = dict(checkpoint.metrics)
        if "mIoU" in metrics:
            other = metrics.get("mIoU(ms+flip)")
            beside = f", {other:.1f} multi-scale and flipped" if other is not None else ""
            rows.append(("Reported mIoU", f"{metrics['mIoU']:.1f}{beside}"))
        if checkpoint.crop is not None:
            steps = f", {checkpoint.steps // 1000} 000 steps" if checkpoint.steps else ""
            rows.append(("Training", f"crops of {checkpoint.crop[1]} × {checkpoint.crop[0]}{steps}"))
        if checkpoint.bytes:
            rows.append(("Size", megabytes(checkpoint.bytes)))
    rows.append(("Backbone", spec.backbone))
    if checkpoint is not None:
        rows.append(("Licence", checkpoint.licence))
    rows.append(("Brought by", offer.plugin))
    rows.append(("Name", spec.name))
    grid = QGridLayout()
    grid.setHorizontalSpacing(16)
    grid.setVerticalSpacing(4)
    grid.setColumnMinimumWidth(0, 88)
    grid.setColumnStretch(1, 1)
    for line, (name, value) in enumerate([row for row in rows if row[1]]):
        grid.addWidget(label(name, role="t2", size=12), line, 0, Qt.AlignmentFlag.AlignTop)
        grid.addWidget(_wrapped(value, "t1"), line, 1)
    return grid


def _wrapped(text: str, role: str, *, strong: int = 400) -> QWidget:
    made = label(text, role=role, size=12, strong=strong)
    made.setWordWrap(True)
    return made


def _address_row(address: str, what: str, copy: Copy) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setSpacing(0)
    shown = ElidedLabel(address, role="accent", size=12)
    row.addWidget(shown, 1)
    copy_button = IconButton("copy", f"Copy the {what.lower()}")
    copy_button.clicked.connect(lambda: copy(what, address))
    row.addWidget(copy_button)
    open_button = IconButton("external", "Open it in the browser")
    open_button.clicked.connect(lambda: QDesktopServices.openUrl(QUrl(address)))
    row.addWidget(open_button)
    return row


class _SwatchStrip(QWidget):
    """The colours of all classes, small, in rows as wide as the card."""

    _SIDE, _GAP = 12, 4

    def __init__(self, colors: Sequence[tuple[int, int, int]]) -> None:
        super().__init__()
        self._colors = [QColor(*color) for color in colors]
        policy = self.sizePolicy()
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)

    def _per_row(self, width: int) -> int:
        return max(1, (width + self._GAP) // (self._SIDE + self._GAP))

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        rows = -(-len(self._colors) // self._per_row(width))
        return rows * (self._SIDE + self._GAP) + self._GAP

    def sizeHint(self) -> QSize:
        return QSize(WIDTH - 48, self.heightForWidth(WIDTH - 48))

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        step, per_row = self._SIDE + self._GAP, self._per_row(self.width())
        for place, color in enumerate(self._colors):
            box = QRect(place % per_row * step, self._GAP + place // per_row * step, self._SIDE, self._SIDE)
            paint_swatch(painter, box, color)
        painter.end()
