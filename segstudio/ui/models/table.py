"""The list of networks and their weights: one row each, with how it stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, QRect, QRectF, Qt, Signal
from PySide6.QtGui import QKeyEvent, QPainter, QResizeEvent
from PySide6.QtWidgets import QHeaderView, QStyle, QStyleOptionViewItem, QTableView

from segstudio.runtime.published_weights import Offer, PublishedWeights, Standing, megabytes
from segstudio.ui import theme
from segstudio.ui.icons import paint_icon
from segstudio.ui.widgets.table import RowDelegate, RowTable

Index = QModelIndex | QPersistentModelIndex

STANDING = Qt.ItemDataRole.UserRole + 130
Cell = tuple[str, str, int, bool, Standing]
"""Text, colour token, weight, whether it stands right, and how its offer stands."""

COLUMNS = ("network", "backbone", "dataset", "miou", "crop", "steps", "size", "state")
_STATE = COLUMNS.index("state")
_TITLES = {
    "network": "Network",
    "backbone": "Backbone",
    "dataset": "Data set",
    "miou": "mIoU",
    "crop": "Crop",
    "steps": "Steps",
    "size": "Size",
    "state": "State",
}
_TIPS = {
    "miou": "In per cent, as the publisher reports it: single scale, not flipped",
    "crop": "Width × height of what it saw in training",
    "steps": "How long it was trained",
    "size": "Of the file, once that is known",
}
_WIDTHS = {
    "network": 184,
    "backbone": 124,
    "dataset": 156,
    "miou": 56,
    "crop": 104,
    "steps": 60,
    "size": 72,
    "state": 140,
}
_LEAST_MISSED = ("size", "backbone", "steps", "crop")
_RIGHT = ("miou", "crop", "steps", "size")
_ORIGINS = {"demo": "Demo", "run": "This project", "file": "Opened file", "plugin": "", "checkpoint": ""}
_ORDER = ("here", "fetching", "checking", "waiting", "failed", "part", "absent", "none", "unavailable")


class NetworksModel(QAbstractTableModel):
    """The offers that are shown, in the chosen order."""

    def __init__(self, weights: PublishedWeights) -> None:
        super().__init__()
        self._weights = weights
        self._offers: list[Offer] = []
        self._sort = "network"
        self._ascending = True
        weights.standing_changed.connect(self._standing_changed)

    @property
    def offers(self) -> list[Offer]:
        return self._offers

    def row_of(self, key: str) -> int:
        return next((row for row, offer in enumerate(self._offers) if offer.key == key), -1)

    def show(self, offers: Sequence[Offer]) -> None:
        self.beginResetModel()
        self._offers = list(offers)
        self._order()
        self.endResetModel()

    def sort_by(self, section: int) -> None:
        """The same column again turns the order round; figures begin with the largest."""
        column = COLUMNS[section]
        self.layoutAboutToBeChanged.emit()
        self._ascending = (
            not self._ascending if column == self._sort else column not in ("miou", "steps", "size")
        )
        self._sort = column
        self._order()
        self.layoutChanged.emit()
        self.headerDataChanged.emit(Qt.Orientation.Horizontal, 0, len(COLUMNS) - 1)

    def _order(self) -> None:
        def base(offer: Offer) -> tuple[Any, ...]:
            return (offer.system.casefold(), offer.spec.title.casefold(), offer.dataset, offer.key)

        def value(offer: Offer) -> Any:
            if self._sort == "miou":
                return offer.miou
            if self._sort == "crop":
                crop = offer.checkpoint.crop if offer.checkpoint is not None else None
                return None if crop is None else (crop[0] * crop[1], crop[1])
            if self._sort == "steps":
                return offer.checkpoint.steps if offer.checkpoint is not None else None
            if self._sort == "size":
                standing = self._weights.standing(offer)
                return standing.total or standing.done or None
            if self._sort == "state":
                return _ORDER.index(self._weights.standing(offer).kind)
            if self._sort == "network":
                return base(offer)
            return (offer.spec.backbone if self._sort == "backbone" else offer.dataset).casefold() or None

        known = [(value(offer), offer) for offer in sorted(self._offers, key=base)]
        present = [pair for pair in known if pair[0] is not None]
        present.sort(key=lambda pair: pair[0], reverse=not self._ascending)
        self._offers = [offer for _, offer in present] + [offer for found, offer in known if found is None]

    def _standing_changed(self, key: str) -> None:
        row = self.row_of(key)
        if row >= 0:
            self.dataChanged.emit(self.index(row, 0), self.index(row, len(COLUMNS) - 1))

    def rowCount(self, parent: Index | None = None) -> int:
        return len(self._offers)

    def columnCount(self, parent: Index | None = None) -> int:
        return len(COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        column = COLUMNS[section]
        if role == Qt.ItemDataRole.DisplayRole:
            arrow = (" ↑" if self._ascending else " ↓") if column == self._sort else ""
            return _TITLES[column] + arrow
        if role == Qt.ItemDataRole.ToolTipRole:
            return _TIPS.get(column)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if column in _RIGHT else Qt.AlignmentFlag.AlignLeft
            return int(side | Qt.AlignmentFlag.AlignVCenter)
        return None

    def cell(self, row: int, section: int) -> Cell:
        """Everything a cell is painted from, in one look."""
        offer, column = self._offers[row], COLUMNS[section]
        standing = self._weights.standing(offer)
        ink = "t1" if column in ("network", "miou") else "t2"
        if standing.kind == "unavailable":
            ink = "t3"
        weight = 500 if column == "network" and standing.kind == "here" else 400
        return _text(offer, column, standing), ink, weight, column in _RIGHT, standing

    def data(self, index: Index, role: int = 0) -> Any:
        offer, column = self._offers[index.row()], COLUMNS[index.column()]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignRight if column in _RIGHT else Qt.AlignmentFlag.AlignLeft)
        if role not in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole, STANDING):
            return None
        standing = self._weights.standing(offer)
        if role == STANDING:
            return standing if column == "state" else None
        if role == Qt.ItemDataRole.ToolTipRole:
            if column in ("network", "backbone", "dataset"):
                return _text(offer, column, standing)
            return state_tip(offer, standing) if column == "state" else None
        return _text(offer, column, standing)


def _text(offer: Offer, column: str, standing: Standing) -> str:
    checkpoint = offer.checkpoint
    if column == "network":
        return offer.runnable.title if offer.runnable is not None else offer.spec.title
    if column == "backbone":
        return offer.spec.backbone
    if column == "dataset":
        if offer.runnable is not None:
            return _ORIGINS[offer.runnable.origin]
        return offer.dataset
    if column == "miou":
        return "" if offer.miou is None else f"{offer.miou:.1f}"
    if column == "crop":
        crop = checkpoint.crop if checkpoint is not None else None
        return "" if crop is None else f"{crop[1]} × {crop[0]}"
    if column == "steps":
        steps = checkpoint.steps if checkpoint is not None else None
        return f"{steps // 1000}k" if steps else ""
    if column == "size":
        known = standing.total or (standing.done if standing.kind == "here" else 0)
        known = known or (checkpoint.bytes or 0 if checkpoint is not None else 0)
        return megabytes(known) if known else ""
    return state_words(standing)


def state_words(standing: Standing) -> str:
    """How an offer stands, in a word or two."""
    if standing.kind == "fetching":
        return (
            f"{standing.fraction * 100:.0f} %" if standing.fraction is not None else megabytes(standing.done)
        )
    if standing.kind == "part":
        return f"{megabytes(standing.done)} fetched"
    if standing.kind == "failed" and standing.error is not None:
        return standing.error.what
    return {
        "here": "On this computer",
        "absent": "Not fetched",
        "waiting": "Waiting…",
        "checking": "Checking…",
        "none": "None published",
        "unavailable": "Cannot run here",
    }.get(standing.kind, "")


def state_tip(offer: Offer, standing: Standing) -> str:
    """The whole sentence behind a state."""
    if standing.kind == "failed" and standing.error is not None:
        return str(standing.error)
    if standing.kind == "unavailable":
        return offer.spec.unavailable
    if standing.kind == "none":
        return "It can be trained, or run with a file of weights that you have"
    return ""


_ICONS = {
    "here": ("check", "ok"),
    "failed": ("warning", "err"),
    "part": ("pause", "t2"),
    "checking": ("clock", "t2"),
    "waiting": ("clock", "t2"),
    "unavailable": ("info", "t3"),
    "none": ("train", "t3"),
}


class NetworksDelegate(RowDelegate):
    """Draws a cell from one look at the model; the state is an icon with its word, or a bar."""

    def __init__(self, view: QTableView, networks: NetworksModel) -> None:
        super().__init__(view)
        self._networks = networks

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        row, section = index.row(), index.column()
        rect: QRect = option.rect  # type: ignore[attr-defined]
        selected = bool(option.state & QStyle.StateFlag.State_Selected)  # type: ignore[attr-defined]
        if selected or row == self.hovered_row:
            painter.fillRect(rect, theme.color("selected" if selected else "hover"))
        painter.fillRect(rect.left(), rect.bottom(), rect.width(), 1, theme.color("grid"))
        text, ink, weight, right, standing = self._networks.cell(row, section)
        rect = rect.adjusted(self._padding, 0, -self._padding, -1)
        painter.setFont(theme.font(12, weight))
        if section == _STATE:
            _paint_state(painter, rect, text, standing)
            return
        if not text:
            return
        painter.setPen(theme.color(ink))
        shown = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, rect.width())
        painter.drawText(rect, _RIGHT_MIDDLE if right else _LEFT_MIDDLE, shown)


_LEFT_MIDDLE = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
_RIGHT_MIDDLE = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)


def _paint_state(painter: QPainter, rect: QRect, words: str, standing: Standing) -> None:
    if standing.kind == "fetching":
        painter.setPen(theme.color("t1"))
        painter.drawText(rect, _LEFT_MIDDLE, words)
        _paint_bar(painter, rect, standing)
        return
    icon, role = _ICONS.get(standing.kind, ("", "t2"))
    if icon:
        paint_icon(painter, QRect(rect.left(), rect.center().y() - 6, 14, 14), icon, role)
    rect.setLeft(rect.left() + 20)
    quiet = standing.kind in ("absent", "none", "unavailable")
    painter.setPen(theme.color("err" if standing.kind == "failed" else ("t3" if quiet else "t2")))
    shown = painter.fontMetrics().elidedText(words, Qt.TextElideMode.ElideRight, rect.width())
    painter.drawText(rect, _LEFT_MIDDLE, shown)


def _paint_bar(painter: QPainter, rect: QRect, standing: Standing) -> None:
    """How much is here, beside its figure."""
    painter.save()
    bar = QRectF(rect.left() + 52, rect.center().y() - 2, max(24, rect.width() - 52), 6)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(theme.color("line2"))
    painter.drawRoundedRect(bar, 3, 3)
    if standing.fraction:
        bar.setWidth(max(6.0, bar.width() * standing.fraction))
        painter.setBrush(theme.color("accent"))
        painter.drawRoundedRect(bar, 3, 3)
    painter.restore()


class NetworksTable(RowTable):
    """`chosen(Offer or None)` follows the row in front, `entered` is Enter or a double click on it."""

    chosen = Signal(object)
    entered_row = Signal(object)

    def __init__(self, weights: PublishedWeights) -> None:
        super().__init__()
        self.setAccessibleName("Networks")
        self.networks = NetworksModel(weights)
        self.setModel(self.networks)
        self.use_delegate(NetworksDelegate(self, self.networks))
        head = self.horizontalHeader()
        head.setSectionsClickable(True)
        head.sectionClicked.connect(self._sort)
        for section, column in enumerate(COLUMNS):
            head.resizeSection(section, _WIDTHS[column])
        head.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        head.setSectionResizeMode(COLUMNS.index("state"), QHeaderView.ResizeMode.Stretch)
        self.selectionModel().currentRowChanged.connect(lambda *_: self.chosen.emit(self.current))
        self.doubleClicked.connect(lambda _index: self.entered_row.emit(self.current))

    @property
    def current(self) -> Offer | None:
        row = self.currentIndex().row()
        return self.networks.offers[row] if 0 <= row < len(self.networks.offers) else None

    def show_offers(self, offers: Sequence[Offer]) -> None:
        """The same row stays in front where it is still listed, else the first."""
        current = self.current
        self.networks.show(offers)
        row = self.networks.row_of(current.key) if current is not None else -1
        if offers:
            self.select(max(0, row))
        else:
            self.chosen.emit(None)

    def select(self, row: int) -> None:
        self.setCurrentIndex(self.networks.index(row, 0))
        self.scrollTo(self.networks.index(row, 0))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """A narrow table gives the room of what can be missed most easily to its words."""
        super().resizeEvent(event)
        width = event.size().width()
        hidden: set[str] = set()
        for column in _LEAST_MISSED:
            if sum(_WIDTHS[each] for each in COLUMNS if each not in hidden) > width:
                hidden.add(column)
        for column in _LEAST_MISSED:
            self.setColumnHidden(COLUMNS.index(column), column in hidden)
        taken = sum(_WIDTHS[column] for column in COLUMNS if column not in hidden)
        spare = max(0, width - taken)
        for column, share, most in (("network", 0.5, 112), ("dataset", 0.3, 64)):
            self.setColumnWidth(COLUMNS.index(column), _WIDTHS[column] + min(round(share * spare), most))

    def _sort(self, section: int) -> None:
        current = self.current
        self.networks.sort_by(section)
        if current is not None:
            self.select(self.networks.row_of(current.key))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.entered_row.emit(self.current)
            return
        super().keyPressEvent(event)
