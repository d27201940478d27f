"""The side card of one network: its paper, parts, classes and weights, and what can be done with them."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFrame, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from segstudio.runtime.published_weights import Offer, PublishedWeights, Standing, megabytes
from segstudio.ui.models.card_body import card_body
from segstudio.ui.models.table import state_tip
from segstudio.ui.widgets.buttons import IconButton, push_button
from segstudio.ui.widgets.card import NoticeCard
from segstudio.ui.widgets.labels import ElidedLabel, label, rule
from segstudio.ui.widgets.progress import ProgressBar

_AFTER_MS = 40


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
        self._soon = QTimer(self, singleShot=True, interval=_AFTER_MS)
        self._soon.timeout.connect(self._show_body)
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
        """The card of this offer; of none it is empty. Its words follow in a moment: who holds an arrow key
        down or types passes many.
        """
        self._offer = offer
        self._soon.start()
        if offer is None:
            self._foot.hide()
            return
        self._foot.show()
        self._show_standing()

    def _show_body(self) -> None:
        self._area.setWidget(card_body(self._offer, self._copy) if self._offer is not None else QWidget())

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
