"""What floats over a room: error cards, one per cause, and short notices that go by themselves."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject, QTimer
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from segstudio.core.errors import UserError
from segstudio.ui.icons import pixmap
from segstudio.ui.widgets.buttons import push_button
from segstudio.ui.widgets.card import NoticeCard, Severity
from segstudio.ui.widgets.labels import label

_WIDTH = 480
_MARGIN = 12
_TOP = 52  # below the option bar
_SHOWN = 3
_NOTICE_MS = 4000


class Notices(QWidget):
    """Lies over the top of `host`; empty, it takes no click away from what is below."""

    def __init__(self, host: QWidget) -> None:
        super().__init__(host)
        self._host = host
        self._cards: dict[str, _Cause] = {}
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(8)
        host.installEventFilter(self)
        self.hide()
        self._toast = _Toast(host)

    def show_error(
        self,
        error: UserError,
        *,
        severity: Severity = "err",
        buttons: list[tuple[str, Callable[[], object]]] | None = None,
    ) -> NoticeCard:
        """A card for the error; the same cause on other files only raises the count on its card."""
        known = self._cards.get(error.what)
        if known is not None:
            known.add(error)
            return known.card
        card = NoticeCard.of(error, severity=severity)
        for text, action in buttons or []:
            card.add_button(text, action)
        self._cards[error.what] = _Cause(card, error)
        card.dismissed.connect(lambda key=error.what: self._forget(key))
        self._column.insertWidget(0, card)
        while len(self._cards) > _SHOWN:
            oldest = next(iter(self._cards))
            self._cards.pop(oldest).card.deleteLater()
        self.show()
        self._place()
        return card

    def show_notice(
        self, text: str, button: str = "", action: Callable[[], object] | None = None, *, done: bool = True
    ) -> None:
        """A sentence for four seconds, with at most one word to click; `done=False` for a hint."""
        self._toast.show_text(text, button, action, "check" if done else "info")

    @property
    def cards(self) -> list[NoticeCard]:
        """The cards on screen, oldest first."""
        return [cause.card for cause in self._cards.values()]

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize:
            self._place()
            self._toast.place()
        return False

    def _forget(self, key: str) -> None:
        self._cards.pop(key, None)
        if not self._cards:
            self.hide()
        else:
            QTimer.singleShot(0, self, self._place)

    def _place(self) -> None:
        width = min(_WIDTH, self._host.width() - 2 * _MARGIN)
        self.setFixedWidth(width)
        height = self._column.totalHeightForWidth(width) if self._column.hasHeightForWidth() else 0
        self.resize(width, max(height, self.sizeHint().height()))
        self.move((self._host.width() - width) // 2, _TOP)
        self.raise_()


class _Cause:
    def __init__(self, card: NoticeCard, error: UserError) -> None:
        self.card = card
        self._places = [error.where]

    def add(self, error: UserError) -> None:
        if error.where not in self._places:
            self._places.append(error.where)
            more = len(self._places) - 1
            self.card.set_sentence(f"{self._places[0]}, and {more} more")
            self.card.set_details("\n".join(self._places))


class _Toast(QFrame):
    def __init__(self, host: QWidget) -> None:
        super().__init__(host)
        self.setObjectName("Popup")
        self._host = host
        self._action: Callable[[], object] | None = None
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 8, 12, 8)
        row.setSpacing(8)
        self._mark = label("")
        row.addWidget(self._mark)
        self._text = label("")
        row.addWidget(self._text)
        self._button = push_button("", kind="link")
        self._button.clicked.connect(self._act)
        row.addSpacing(12)
        row.addWidget(self._button)
        self._timer = QTimer(self, singleShot=True, interval=_NOTICE_MS)
        self._timer.timeout.connect(self.hide)
        self.hide()

    def show_text(self, text: str, button: str, action: Callable[[], object] | None, icon: str) -> None:
        role = "ok" if icon == "check" else "t2"
        self._mark.setPixmap(pixmap(icon, 14, role, self.devicePixelRatioF()))
        self._text.setText(text)
        self._button.setText(button)
        self._button.setVisible(bool(button))
        self._action = action
        self.adjustSize()
        self.show()
        self.place()
        self._timer.start()

    def place(self) -> None:
        if self.isVisible():
            self.move((self._host.width() - self.width()) // 2, self._host.height() - self.height() - 16)
            self.raise_()

    def _act(self) -> None:
        self.hide()
        if self._action is not None:
            self._action()
