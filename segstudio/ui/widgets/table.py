"""The one table look: 26 px rows, a rule under each, no vertical lines, hover and selection over the row."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QModelIndex, QPersistentModelIndex, QRect, Qt
from PySide6.QtGui import QColor, QMouseEvent, QPainter
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from segstudio.ui import theme
from segstudio.ui.widgets.chip import paint_swatch

Index = QModelIndex | QPersistentModelIndex

SWATCH = Qt.ItemDataRole.UserRole + 101  # QColor of a class swatch before the text; "ignore" for the hatch
TOTAL = Qt.ItemDataRole.UserRole + 102  # True on the last row of means: bar ground


class RowDelegate(QStyledItemDelegate):
    """Paints ground, rule, swatch and text of a cell; rooms subclass it for bars and icons."""

    def __init__(self, view: QTableView, *, padding: int = 8) -> None:
        super().__init__(view)
        self._view = view
        self._padding = padding
        self.hovered_row = -1

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        self.paint_ground(painter, option, index)
        self.paint_text(painter, option, index)

    def paint_ground(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """Fill hover or selection over the whole cell and draw the rule below."""
        rect: QRect = option.rect  # type: ignore[attr-defined]
        selected = bool(option.state & QStyle.StateFlag.State_Selected)  # type: ignore[attr-defined]
        if selected:
            painter.fillRect(rect, theme.color("selected"))
        elif index.row() == self.hovered_row:
            painter.fillRect(rect, theme.color("hover"))
        elif index.data(TOTAL):
            painter.fillRect(rect, theme.color("bar"))
        painter.fillRect(QRect(rect.left(), rect.bottom(), rect.width(), 1), theme.color("grid"))

    def paint_text(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """Draw swatch and text; ForegroundRole names a token ("t2") or is a QColor."""
        rect: QRect = option.rect.adjusted(self._padding, 0, -self._padding, -1)  # type: ignore[attr-defined]
        swatch = index.data(SWATCH)
        if swatch is not None:
            box = QRect(rect.left(), rect.center().y() - 6, 14, 14)
            paint_swatch(painter, box, swatch if isinstance(swatch, QColor) else None)
            rect.setLeft(rect.left() + 22)
        text = index.data(Qt.ItemDataRole.DisplayRole)
        if text is None:
            return
        role = index.data(Qt.ItemDataRole.ForegroundRole)
        weight = index.data(Qt.ItemDataRole.FontRole)
        painter.setFont(theme.font(12, weight if isinstance(weight, int) else 400))
        painter.setPen(role if isinstance(role, QColor) else theme.color(role or "t1"))
        align = index.data(Qt.ItemDataRole.TextAlignmentRole)
        flags = int(align) if align is not None else int(Qt.AlignmentFlag.AlignLeft)
        shown = painter.fontMetrics().elidedText(str(text), Qt.TextElideMode.ElideRight, rect.width())
        painter.drawText(rect, flags | int(Qt.AlignmentFlag.AlignVCenter), shown)


class RowTable(QTableView):
    """A QTableView with the look; `delegate` is its RowDelegate (or a subclass set by the room)."""

    def __init__(self, parent: QWidget | None = None, *, row_height: int = 26) -> None:
        super().__init__(parent)
        self.setShowGrid(False)
        self.setMouseTracking(True)
        self.setFrameShape(QTableView.Shape.NoFrame)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        rows = self.verticalHeader()
        rows.hide()
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setMinimumSectionSize(20)
        rows.setDefaultSectionSize(row_height)
        head = self.horizontalHeader()
        head.setFixedHeight(24)
        head.setHighlightSections(False)
        head.setMinimumSectionSize(20)
        head.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.use_delegate(RowDelegate(self))
        theme.appearance().changed.connect(self.viewport().update)

    def use_delegate(self, delegate: RowDelegate) -> None:
        """Paint with this delegate from now on."""
        self.delegate = delegate
        self.setItemDelegate(delegate)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._hover(self.rowAt(round(event.position().y())))
        super().mouseMoveEvent(event)

    def leaveEvent(self, event: QEvent) -> None:
        self._hover(-1)
        super().leaveEvent(event)

    def _hover(self, row: int) -> None:
        if row != self.delegate.hovered_row:
            self.delegate.hovered_row = row
            self.viewport().update()
