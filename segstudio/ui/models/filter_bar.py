"""The bar over the list of networks: search, system, data set, how they stand, open a file, close."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSignalBlocker, QSize, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QComboBox, QFrame, QHBoxLayout, QLineEdit

from segstudio.ui.icons import icon
from segstudio.ui.widgets.buttons import IconButton, push_button
from segstudio.ui.widgets.labels import label
from segstudio.ui.widgets.segmented import Segment, SegmentedControl

_PLACEHOLDER = "Name, paper, data set"
STANDINGS = (
    ("", "All", "Every network of every plugin"),
    ("here", "Here", "Weights that lie on this computer"),
    ("fetch", "To fetch", "Published weights that are not here yet"),
    ("train", "To train", "Networks that a run can train"),
)


class FilterBar(QFrame):
    """Holds what is asked for; `changed` when that changes."""

    changed = Signal()
    open_wanted = Signal()
    closed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("OptionBar")
        self.setFixedHeight(40)
        self._title = label("Networks", size=15, strong=600)
        self.search = QLineEdit()
        self.search.setPlaceholderText(_PLACEHOLDER)
        self.search.setAccessibleName("Search networks")
        self._clear = self.search.addAction(icon("close", 14), QLineEdit.ActionPosition.TrailingPosition)
        self._clear.setToolTip("Clear the search\nEsc")
        self._clear.setVisible(False)
        self._clear.triggered.connect(self.search.clear)
        self.search.textChanged.connect(lambda text: self._clear.setVisible(bool(text)))
        self.search.setMinimumWidth(160)
        self.search.setMaximumWidth(288)
        self._mark = QAction(icon("search", 14), "", self.search)
        self.search.addAction(self._mark, QLineEdit.ActionPosition.LeadingPosition)
        self.systems = QComboBox()
        self.systems.setAccessibleName("System")
        self.systems.setToolTip("Only networks of one system")
        self.datasets = QComboBox()
        self.datasets.setAccessibleName("Data set")
        self.datasets.setToolTip("Only weights trained on one data set")
        for box, word in ((self.systems, "All systems"), (self.datasets, "All data sets")):
            box.addItem(word, "")
            box.setMaxVisibleItems(24)
            box.setFixedWidth(152)
            box.currentIndexChanged.connect(lambda _index: self.changed.emit())
        self.standings = SegmentedControl(
            [Segment(word, tip=tip) for _, word, tip in STANDINGS], name="State"
        )
        self.open = push_button("Open a file…", icon_name="import")
        self.open.setToolTip(
            "Weights that you have: which network they belong to is found out\nor drop the file here"
        )
        close = IconButton("close", "Back\nEsc", side=28)
        close.setIconSize(QSize(14, 14))
        row = QHBoxLayout(self)
        row.setContentsMargins(16, 0, 8, 0)
        row.setSpacing(8)
        row.addWidget(self._title)
        row.addSpacing(8)
        row.addWidget(self.search, 1)
        row.addWidget(self.systems)
        row.addWidget(self.datasets)
        row.addWidget(self.standings)
        row.addStretch(1)
        row.addWidget(self.open)
        row.addWidget(close)
        self.search.textChanged.connect(lambda _text: self.changed.emit())
        self.standings.changed.connect(lambda _index: self.changed.emit())
        self.open.clicked.connect(self.open_wanted)
        close.clicked.connect(self.closed)

    @property
    def query(self) -> str:
        return self.search.text().strip()

    @property
    def system(self) -> str:
        return str(self.systems.currentData() or "")

    @property
    def dataset(self) -> str:
        return str(self.datasets.currentData() or "")

    @property
    def standing(self) -> str:
        return STANDINGS[self.standings.current][0]

    def set_choices(self, systems: Sequence[str], datasets: Sequence[str]) -> None:
        """What can be chosen; the choice stays where it still exists. Tells nobody."""
        for box, names in ((self.systems, systems), (self.datasets, datasets)):
            with QSignalBlocker(box):
                chosen = str(box.currentData() or "")
                while box.count() > 1:
                    box.removeItem(1)
                for name in names:
                    box.addItem(name, name)
                box.setCurrentIndex(max(0, box.findData(chosen)))

    def clear(self) -> None:
        """Everything is shown again."""
        for widget in (self.search, self.systems, self.datasets):
            widget.blockSignals(True)
        self.search.clear()
        self.systems.setCurrentIndex(0)
        self.datasets.setCurrentIndex(0)
        for widget in (self.search, self.systems, self.datasets):
            widget.blockSignals(False)
        self.standings.set_current(0)
        self.changed.emit()

    def set_compact(self, compact: bool) -> None:
        """In a narrow window the title goes and the lists are short."""
        self._title.setVisible(not compact)
        self.search.setPlaceholderText("Search" if compact else _PLACEHOLDER)
        for box in (self.systems, self.datasets):
            box.setFixedWidth(128 if compact else 152)
