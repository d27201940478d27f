"""The first page: try the demo, open a folder, import labels, and what this computer can do."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QKeyEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QScrollArea, QVBoxLayout, QWidget

from segstudio.ui import theme
from segstudio.ui.computer_panel import ComputerPanel
from segstudio.ui.start_pictures import DemoPictures, FolderPicture, FormatsPicture
from segstudio.ui.widgets.buttons import push_button
from segstudio.ui.widgets.card import Card
from segstudio.ui.widgets.labels import ElidedLabel, key_cap, key_text, label
from segstudio.ui.widgets.mark import IconMark
from segstudio.ui.widgets.segmented import SegmentedControl

_GAPS = ((32, 16), (24, 16), (24, 16))  # above cards, panel and foot: on a high and on a low window
_THEMES: tuple[theme.Choice, ...] = ("system", "light", "dark")


class FirstLaunch(QScrollArea):
    """`demo_wanted`, `open_wanted`, `import_wanted`, `keys_wanted`; `recent_chosen(path)`."""

    demo_wanted = Signal()
    open_wanted = Signal()
    import_wanted = Signal()
    keys_wanted = Signal()
    recent_chosen = Signal(str)
    theme_chosen = Signal(str)

    def __init__(self, *, recent: list[str], import_formats: list[str], has_demo: bool) -> None:
        super().__init__()
        self.setObjectName("Start")
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        page = QWidget()
        page.setObjectName("Plain")
        outer = QHBoxLayout(page)
        outer.setContentsMargins(24, 0, 24, 0)
        self._inner = QWidget()
        outer.addStretch(1)
        outer.addWidget(self._inner)
        outer.addStretch(1)
        column = QVBoxLayout(self._inner)
        column.setContentsMargins(0, 16, 0, 16)
        column.setSpacing(0)
        column.addStretch(2)
        column.addWidget(label("What would you like to do?", size=24, strong=600))
        column.addSpacing(4)
        column.addWidget(
            label(
                "Annotate images, compare networks, see what they attend to, train your own. "
                "Everything stays on this computer.",
                role="t2",
            )
        )
        self._gaps = [QWidget() for _ in _GAPS]
        column.addWidget(self._gaps[0])
        self._cards = QHBoxLayout()
        self._choices: list[tuple[QWidget, QWidget]] = []
        column.addLayout(self._cards)
        self._pictures: DemoPictures | None = None
        if has_demo:
            self._choices.append(self._demo_card())
        self._choices.append(self._open_card(primary=not has_demo))
        if import_formats:
            self._choices.append(self._import_card(import_formats))
        for card, _picture in self._choices:
            self._cards.addWidget(card)
        column.addWidget(self._gaps[1])
        self._computer = ComputerPanel()
        column.addWidget(self._computer)
        column.addWidget(self._gaps[2])
        column.addLayout(self._foot(recent))
        column.addStretch(3)
        self.setWidget(page)
        self._page = page

    @property
    def computer(self) -> ComputerPanel:
        return self._computer

    def set_recent(self, recent: list[str]) -> None:
        """List these folders at the foot."""
        while (item := self._recent.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.deleteLater()
        self._recent.addWidget(label("Recent" if recent else "Recent: none yet", role="t2"))
        for path in recent[:3]:
            button = push_button(Path(path).name or path, kind="link")
            button.setToolTip(path)
            button.clicked.connect(lambda _on=False, path=path: self.recent_chosen.emit(path))
            self._recent.addWidget(button)

    def show_pictures(self) -> None:
        """Load the demo's small pictures; called after the first paint."""
        if self._pictures is not None:
            self._pictures.load()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        wide, high = self.viewport().width() >= 1400, self.viewport().height() >= 820
        width, gap = (400, 24) if wide else (352, 16)
        room = self.viewport().width() - 48
        count = max(1, len(self._choices))
        width = min(width, (room - (count - 1) * gap) // count)
        self._cards.setSpacing(gap)
        self._inner.setFixedWidth(count * width + (count - 1) * gap if count == 3 else min(3 * width, room))
        for card, picture in self._choices:
            if count == 3:
                card.setFixedWidth(width)
            card.setMinimumHeight(388 if wide and high else 324)
            picture.setFixedHeight(176 if high else 144)
        for spacer, (large, small) in zip(self._gaps, _GAPS, strict=True):
            spacer.setFixedHeight(large if high else small)
        self._computer.stack(not wide)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        first = self.demo_button if self._pictures is not None else self.open_button
        first.setFocus(Qt.FocusReason.OtherFocusReason)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            focused = self.focusWidget()
            button = focused if isinstance(focused, QPushButton) else None
            (button or (self.demo_button if self._pictures is not None else self.open_button)).click()
        else:
            super().keyPressEvent(event)

    def _demo_card(self) -> tuple[QWidget, QWidget]:
        self._pictures = DemoPictures()
        button = push_button("Open the demo", kind="primary", tall=32)
        button.clicked.connect(self.demo_wanted)
        self.demo_button = button
        return _choice(
            self._pictures,
            "play",
            "Try the demo",
            "Rendered street pictures with ground truth and small trained networks. "
            "All tabs are alive at once: no download, no account.",
            [button, key_cap(key_text("Return"))],
            "included",
        )

    def _open_card(self, *, primary: bool) -> tuple[QWidget, QWidget]:
        button = push_button("Open a folder…", kind="primary" if primary else "plain", tall=32)
        button.clicked.connect(self.open_wanted)
        self.open_button = button
        return _choice(
            FolderPicture(),
            "project",
            "Open a folder",
            "Images stay where they are. Labels are written beside them into a project folder "
            "and saved after every stroke.",
            [button, key_cap(key_text("Ctrl+O"))],
            "JPEG, PNG, TIFF, …",
        )

    def _show_theme(self) -> None:
        """The theme was changed elsewhere (top bar, settings)."""
        with QSignalBlocker(self._theme_switch):
            self._theme_switch.set_current(_THEMES.index(theme.appearance().choice))

    def _import_card(self, formats: list[str]) -> tuple[QWidget, QWidget]:
        button = push_button("Import…", tall=32)
        button.clicked.connect(self.import_wanted)
        return _choice(
            FormatsPicture(formats),
            "import",
            "Import labels",
            "Classes are matched by name and shown before anything is written. "
            "What cannot be kept is listed, never dropped in silence.",
            [button, key_cap(key_text("Ctrl+I"))],
            f"{len(formats)} formats" if len(formats) > 1 else "1 format",
        )

    def _foot(self, recent: list[str]) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(IconMark("clock"))
        self._recent = QHBoxLayout()
        self._recent.setSpacing(12)
        row.addLayout(self._recent)
        self.set_recent(recent)
        row.addStretch(1)
        row.addWidget(IconMark("keyboard"))
        keys = push_button("Keys", kind="link")
        keys.clicked.connect(self.keys_wanted)
        row.addWidget(keys)
        row.addWidget(key_cap("F1"))
        row.addSpacing(8)
        row.addWidget(IconMark("sun"))
        row.addWidget(label("Theme", role="t2"))
        switch = SegmentedControl(["System", "Light", "Dark"], tall=24, name="Theme")
        switch.set_current(_THEMES.index(theme.appearance().choice))
        switch.changed.connect(lambda index: self.theme_chosen.emit(_THEMES[index]))
        self._theme_switch = switch
        theme.appearance().changed.connect(self._show_theme)
        row.addWidget(switch)
        return row


def _choice(
    picture: QWidget, icon: str, title: str, words: str, actions: list[QWidget], note: str
) -> tuple[QWidget, QWidget]:
    """One card and the picture at its top."""
    card = Card()
    card.column.addWidget(picture)
    card.column.addSpacing(8)
    head = QHBoxLayout()
    head.setSpacing(8)
    head.addWidget(IconMark(icon, 22, "accent"))
    head.addWidget(label(title, size=17, strong=600))
    head.addStretch(1)
    card.column.addLayout(head)
    text = label(words, role="t2")
    text.setWordWrap(True)
    text.setAlignment(Qt.AlignmentFlag.AlignTop)
    card.column.addWidget(text, 1)
    row = QHBoxLayout()
    row.setSpacing(8)
    for action in actions:
        row.addWidget(action)
    row.addStretch(1)
    row.addWidget(_Note(note))
    card.column.addLayout(row)
    return card, picture


class _Note(ElidedLabel):
    """A short note at the right end of a row."""

    def __init__(self, text: str) -> None:
        super().__init__(text, role="t2", size=12)
        self.elide = Qt.TextElideMode.ElideRight
        self.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.setMinimumWidth(60)
