"""The side card of one network: its paper, parts, classes and weights, and what can be done with them."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRect, QSize, Qt, QUrl, Signal
from PySide6.QtGui import QColor, QDesktopServices, QGuiApplication, QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from segstudio.runtime.network_search import class_names
from segstudio.runtime.published_weights import Offer, PublishedWeights, Standing, megabytes
from segstudio.ui.models.table import state_tip
from segstudio.ui.widgets.buttons import IconButton, push_button
from segstudio.ui.widgets.card import NoticeCard
from segstudio.ui.widgets.chip import paint_swatch
from segstudio.ui.widgets.labels import ElidedLabel, label, rule, tag
from segstudio.ui.widgets.progress import ProgressBar

WIDTH = 376
_NAMED_CLASSES = 12


class NetworkCard(QFrame):
    """Shows one offer; the verbs are signals that carry it."""

    fetch_wanted = Signal(object)
    cancel_wanted = Signal(object)
    compare_wanted = Signal(object)
    train_wanted = Signal(object)
    remove_wanted = Signal(object)
    copied = Signal(str)

    def __init__(self, weights: PublishedWeights) -> None:
        super().__init__()
        self.setObjectName("Dock")
        self._weights = weights
        self._offer: Offer | None = None
        self._shown = ""
        self._area = QScrollArea()
        self._area.setWidgetResizable(True)
        self._area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._foot = _Foot()
        column = QVBoxLayout(self)
        column.setContentsMargins(1, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._area, 1)
        column.addWidget(self._foot)
        self._foot.main.clicked.connect(self.press)
        self._foot.second.clicked.connect(self._press_second)
        self._foot.place_wanted.connect(lambda path: self._copy("Place of the file", path))
        weights.standing_changed.connect(self._standing_changed)

    @property
    def offer(self) -> Offer | None:
        return self._offer

    @property
    def main(self) -> QWidget:
        """The button for what comes next with this network."""
        return self._foot.main

    @property
    def words(self) -> str:
        """What is said about how the network stands."""
        return self._foot.words

    def show_offer(self, offer: Offer | None) -> None:
        """The card of this offer; of none it is empty."""
        self._offer = offer
        if offer is None:
            self._area.setWidget(QWidget())
            self._foot.hide()
            return
        self._area.setWidget(_body(offer, self._copy))
        self._foot.show()
        self._shown = ""
        self._show_standing()

    def press(self) -> None:
        """Does what the first button says."""
        offer = self._offer
        if offer is None:
            return
        kind = self._weights.standing(offer).kind
        if kind in ("absent", "part", "failed"):
            self.fetch_wanted.emit(offer)
        elif kind in ("waiting", "fetching", "checking"):
            self.cancel_wanted.emit(offer)
        elif kind == "here":
            self.compare_wanted.emit(offer)
        elif kind == "none" and offer.spec.trainable:
            self.train_wanted.emit(offer)

    def _press_second(self) -> None:
        offer = self._offer
        if offer is not None:
            if self._weights.standing(offer).kind == "here" and not _removable(offer):
                self.train_wanted.emit(offer)
            else:
                self.remove_wanted.emit(offer)

    def _standing_changed(self, key: str) -> None:
        if self._offer is not None and self._offer.key == key:
            self._show_standing()

    def _show_standing(self) -> None:
        offer = self._offer
        if offer is not None:
            job = self._weights.job(offer)
            self._foot.show_standing(offer, self._weights.standing(offer), job is not None, self._rate(offer))

    def _rate(self, offer: Offer) -> tuple[str, str, bool]:
        job = self._weights.job(offer)
        if job is None:
            return "", "", False
        return job.rate_text, job.left_text, job.state == "cancelling"

    def _copy(self, what: str, text: str) -> None:
        QGuiApplication.clipboard().setText(text)
        self.copied.emit(f"{what} copied")


class _Foot(QFrame):
    """How it stands, and at most two buttons; it stays in place while the card above scrolls."""

    place_wanted = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("CardFoot")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(rule())
        inner = QVBoxLayout()
        inner.setContentsMargins(16, 12, 16, 12)
        inner.setSpacing(8)
        column.addLayout(inner)
        self._problem = QVBoxLayout()
        inner.addLayout(self._problem)
        self._card: NoticeCard | None = None
        self._text = label("", role="t2", size=12)
        self._text.setWordWrap(True)
        inner.addWidget(self._text)
        self._path = ElidedLabel("", role="t2", size=12)
        copy = IconButton("copy", "Copy this place")
        copy.clicked.connect(lambda: self.place_wanted.emit(self._path.text()))
        self._place = QWidget()
        place = QHBoxLayout(self._place)
        place.setContentsMargins(0, 0, 0, 0)
        place.addWidget(self._path, 1)
        place.addWidget(copy)
        inner.addWidget(self._place)
        self._bar = ProgressBar()
        inner.addWidget(self._bar)
        under = QHBoxLayout()
        self._rate = label("", role="t2", size=12)
        self._left = label("", role="t2", size=12)
        under.addWidget(self._rate)
        under.addStretch(1)
        under.addWidget(self._left)
        self._under = QWidget()
        self._under.setLayout(under)
        under.setContentsMargins(0, 0, 0, 0)
        inner.addWidget(self._under)
        row = QHBoxLayout()
        row.setSpacing(8)
        self.main = push_button("", kind="primary")
        self.second = push_button("")
        row.addWidget(self.main)
        row.addWidget(self.second)
        row.addStretch(1)
        inner.addLayout(row)
        self._error: object = None

    @property
    def words(self) -> str:
        return self._text.text()

    def show_standing(
        self, offer: Offer, standing: Standing, at_work: bool, rate: tuple[str, str, bool]
    ) -> None:
        kind = standing.kind
        cancelling = rate[2]
        main, second = _buttons(offer, kind, cancelling)
        for button, text in ((self.main, main), (self.second, second)):
            button.setText(text)
            button.setVisible(bool(text))
        self.main.setEnabled(not cancelling)
        wanted = "plain" if at_work else "primary"
        if self.main.property("kind") != wanted:
            self.main.setProperty("kind", wanted)
            self.main.style().unpolish(self.main)
            self.main.style().polish(self.main)
        moving = kind in ("waiting", "fetching", "checking")
        self._bar.setVisible(moving)
        self._under.setVisible(moving)
        self._bar.set_role("warn" if cancelling else "accent")
        self._bar.set_fraction(standing.fraction if kind == "fetching" else (None if moving else 0.0))
        self._rate.setText(rate[0] if kind == "fetching" else "")
        self._left.setText(rate[1] if kind == "fetching" else "")
        self._text.setText(_sentence(offer, standing))
        self._text.setVisible(bool(self._text.text()))
        by_hand = offer.file is not None and kind in ("absent", "failed")
        self._place.setVisible(by_hand)
        if by_hand:
            self._path.setText(str(offer.file))
        self._show_error(standing)

    def _show_error(self, standing: Standing) -> None:
        if standing.error is self._error:
            return
        self._error = standing.error
        card, self._card = self._card, None
        if card is not None:
            card.hide()
            card.deleteLater()
        if standing.error is not None:
            self._card = NoticeCard.of(standing.error)
            self._problem.addWidget(self._card)


def _removable(offer: Offer) -> bool:
    return offer.can_fetch or (offer.runnable is not None and offer.runnable.origin == "file")


def _buttons(offer: Offer, kind: str, cancelling: bool) -> tuple[str, str]:
    if kind in ("waiting", "fetching", "checking"):
        return "Cancelling…" if cancelling else "Cancel", ""
    if kind == "here":
        if _removable(offer):
            return "Show in Compare", "Remove file" if offer.can_fetch else "Take off the list"
        return "Show in Compare", "Train it" if offer.spec.trainable else ""
    if kind == "none":
        return ("Train it" if offer.spec.trainable else ""), ""
    return {"absent": "Download", "part": "Resume", "failed": "Try again"}.get(kind, ""), (
        "Remove part" if kind == "part" else ""
    )


def _sentence(offer: Offer, standing: Standing) -> str:
    kind = standing.kind
    if kind == "fetching":
        if standing.total:
            return f"{megabytes(standing.done)} of {megabytes(standing.total)} fetched"
        return f"{megabytes(standing.done)} fetched"
    if kind == "part":
        return f"{megabytes(standing.done)} were fetched earlier. The download goes on from there."
    if kind == "absent":
        return "Without a connection: fetch the file elsewhere and open it here, or put it here:"
    if kind == "here" and standing.done:
        return f"On this computer, {megabytes(standing.done)}"
    return {
        "waiting": "Waiting for the server…",
        "checking": "The file is whole. It is being tried on its network…",
        "none": "Nobody has published weights of this network that are known here. It can be trained, or run "
        "with a file of weights that you have.",
        "failed": "A file fetched by hand belongs here:",
        "unavailable": state_tip(offer, standing),
    }.get(kind, "")


def _body(offer: Offer, copy: object) -> QWidget:
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


def _address_row(address: str, what: str, copy: object) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setSpacing(0)
    shown = ElidedLabel(address, role="accent", size=12)
    row.addWidget(shown, 1)
    copy_button = IconButton("copy", f"Copy the {what.lower()}")
    assert callable(copy)
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
