"""The 28 px strip over a pane: letter, name, tag, score, view, maximise, close."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QMenu, QPushButton, QSizePolicy

from segstudio.runtime.comparison import VIEWS, View
from segstudio.runtime.runnable_models import scale_words
from segstudio.ui import theme
from segstudio.ui.icons import icon
from segstudio.ui.widgets.buttons import IconButton, push_button
from segstudio.ui.widgets.labels import ElidedLabel, label, tag

_NARROWEST = 200


class PaneHeader(QFrame):
    """What a pane shows and how; the name opens the outputs and switches of a model that has some."""

    view_chosen = Signal(str)
    maximise_clicked = Signal()
    close_clicked = Signal()
    name_clicked = Signal()
    pressed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("PaneHeader")
        self.setFixedHeight(28)
        self._active = False
        self._score_words, self._view_title = "", dict(VIEWS)["mask"]
        self._views: tuple[View, ...] = ()
        self._letter = label("A", role="t2", size=12, strong=600)
        self._name = _Name()
        self._tag = tag("not as trained", "warn")
        self._tag.hide()
        self._scale = tag(scale_words(0.75))  # none is wider
        self._scale.setToolTip("The network sees the picture at this size, against the picture's own")
        self._scale.hide()
        self._precision = tag("bf16", "warn")
        self._precision.hide()
        self._score = label("", role="t2", size=12)
        self._state = label("", role="t2", size=12)
        self._score.hide()
        self._state.hide()
        self._view = _view_button()
        self._maximise = IconButton("maximise", "Maximise this pane\nDouble-click the header")
        self._close = IconButton("close", "Close this pane")
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 0, 4, 0)
        row.setSpacing(8)
        for widget in (
            self._letter,
            self._name,
            self._scale,
            self._tag,
            self._precision,
            self._score,
            self._state,
        ):
            row.addWidget(widget)
        row.addStretch(1)
        row.addWidget(self._view)
        row.addSpacing(-4)
        row.addWidget(self._maximise)
        row.addSpacing(-8)
        row.addWidget(self._close)
        self._view.clicked.connect(self._open_views)
        self._maximise.clicked.connect(self.maximise_clicked)
        self._close.clicked.connect(self.close_clicked)
        self._name.clicked.connect(self.name_clicked)
        theme.appearance().changed.connect(self.update)

    @property
    def score_text(self) -> str:
        return self._score_words

    @property
    def name_text(self) -> str:
        return self._name.text()

    def set_name(self, letter: str, name: str, *, opens: bool, changed: bool) -> None:
        """`opens`: a press on the name opens a card. `changed`: the model is not as trained."""
        self._letter.setText(letter)
        self._name.setText(name)
        self._name.set_opens(opens)
        self._tag.setVisible(changed)
        self._fit()

    @property
    def scale_text(self) -> str:
        """The input size as it is written; empty where it is the picture's own."""
        return "" if self._scale.isHidden() else self._scale.text()

    def set_scale(self, scale: float) -> None:
        """How large the network sees the picture; 1 is the picture's own size and not written."""
        self._scale.setText(scale_words(scale))
        self._scale.setVisible(scale != 1.0)
        self._fit()

    @property
    def precision_text(self) -> str:
        """What the tag of a lower precision says when pointed at; empty where there is none."""
        return "" if self._precision.isHidden() else self._precision.toolTip()

    def set_precision(self, precision: str, agreement: Mapping[str, Any] | None) -> None:
        """Marks a result that was not computed in float32, and tells how far it is from it."""
        lower = bool(precision) and precision != "float32"
        self._precision.setVisible(lower)
        if lower and agreement:
            height, width = agreement["crop"]
            self._precision.setToolTip(
                f"Computed in {precision}\n"
                f"{100 * agreement['same_pixels']:.2f} % of {width} x {height} pixels as in float32\n"
                f"Scores differ by at most {agreement['largest_gap']:.3f} of their deviation"
            )

    def set_score(self, text: str) -> None:
        self._score_words = text
        self._score.setVisible(bool(text))  # an empty one would take its gap from the name
        self._fit()

    def set_state(self, text: str, tip: str = "") -> None:
        """A figure of what this pane shows now, or nothing; `tip` says more when it is pointed at."""
        self._state.setText(text)
        self._state.setToolTip(tip)
        self._state.setVisible(bool(text))
        self._fit()

    def set_views(self, views: tuple[View, ...], current: View) -> None:
        """The views this pane can show; none hides the choice."""
        self._views = views
        self._view.setVisible(len(views) > 1)
        self._view_title = dict(VIEWS)[current]
        self._fit()

    def set_active(self, active: bool) -> None:
        if active != self._active:
            self._active = active
            self.update()

    def set_maximised(self, maximised: bool) -> None:
        self._maximise.show_icon("restore" if maximised else "maximise")
        self._maximise.setToolTip("Show all panes" if maximised else "Maximise this pane")

    def set_closable(self, closable: bool, *, maximisable: bool = True) -> None:
        self._close.setVisible(closable)
        self._maximise.setVisible(maximisable)

    def _fit(self) -> None:
        """In a narrow pane the name stays whole longest: the score loses its word, the view its title."""
        figure = self._score_words.rpartition(" ")[2]
        for score, view in (
            (self._score_words, self._view_title),
            (figure, self._view_title),
            (figure, ""),
        ):
            self._score.setText(score)
            self._view.setText(view)
            if self.sizeHint().width() <= self.width():
                break
        self._score.setToolTip(self._score_words)
        self._view.setAccessibleName(f"View: {self._view_title}")
        self._view.setToolTip(f"What this pane shows: {self._view_title}\nF2 … F5")

    def minimumSizeHint(self) -> QSize:
        """With the short words: panes in three columns leave the table beside them its width."""
        return QSize(_NARROWEST, super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _open_views(self) -> None:
        menu = QMenu(self)
        for view, title in VIEWS:
            if view in self._views:
                action = menu.addAction(title)
                action.setCheckable(True)
                action.setChecked(title == self._view_title)
                action.triggered.connect(lambda _=False, view=view: self.view_chosen.emit(view))
        menu.popup(self._view.mapToGlobal(self._view.rect().bottomLeft()))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.pressed.emit()
        super().mousePressEvent(event)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and not self._maximise.isHidden():
            self.maximise_clicked.emit()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self._active:
            painter = QPainter(self)
            painter.fillRect(0, 0, self.width(), 2, theme.color("accent"))
            painter.end()


class _Name(ElidedLabel):
    """The pane's name; a press tells where it opens something."""

    clicked = Signal()

    def __init__(self) -> None:
        super().__init__("", size=12, strong=500)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self._opens = False

    def set_opens(self, opens: bool) -> None:
        self._opens = opens
        self.setCursor(Qt.CursorShape.PointingHandCursor if opens else Qt.CursorShape.ArrowCursor)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self._opens and event.button() == Qt.MouseButton.LeftButton:
            self.clicked.emit()
        super().mouseReleaseEvent(event)


def _view_button() -> QPushButton:
    made = push_button("Mask", kind="quiet", tall=24)
    made.setIcon(icon("chevron-down", 14))
    made.setLayoutDirection(Qt.LayoutDirection.RightToLeft)
    return made
