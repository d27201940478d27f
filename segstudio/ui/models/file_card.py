"""The side card of a file that a person opened: what lies in it, as which network it is added."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QFrame, QHBoxLayout, QVBoxLayout, QWidget

from segstudio.core.errors import UserError
from segstudio.plugin_api import Taxonomy
from segstudio.runtime.opened_weights import Candidate, Findings
from segstudio.ui.widgets.buttons import IconButton, push_button
from segstudio.ui.widgets.card import NoticeCard
from segstudio.ui.widgets.labels import label, rule
from segstudio.ui.widgets.progress import ProgressBar


class FileCard(QFrame):
    """`add_wanted(Findings, Candidate, Taxonomy or None)`; `closed` when the person thinks better of it."""

    add_wanted = Signal(object, object, object)
    closed = Signal()
    other_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("Dock")
        self._findings: Findings | None = None
        self._networks: list[Candidate] = []
        self._tables: list[Taxonomy | None] = []
        column = QVBoxLayout(self)
        column.setContentsMargins(17, 12, 16, 16)
        column.setSpacing(8)
        head = QHBoxLayout()
        self._title = label("", size=15, strong=600)
        self._title.setWordWrap(True)
        head.addWidget(self._title, 1)
        close = IconButton("close", "Back to the network\nEsc")
        close.clicked.connect(self.closed)
        head.addWidget(close)
        column.addLayout(head)
        self._place = label("", role="t2", size=12)
        self._place.setWordWrap(True)
        column.addWidget(self._place)
        column.addWidget(rule())
        column.addSpacing(4)
        self._text = label("", size=13)
        self._text.setWordWrap(True)
        column.addWidget(self._text)
        self._bar = ProgressBar()
        column.addWidget(self._bar)
        self._choices = QWidget()
        form = QVBoxLayout(self._choices)
        form.setContentsMargins(0, 0, 0, 0)
        form.setSpacing(4)
        self.network = QComboBox()
        self.network.setAccessibleName("Network")
        self.classes = QComboBox()
        self.classes.setAccessibleName("Names of the classes")
        for name, field in (("Network", self.network), ("Names of the classes", self.classes)):
            form.addWidget(label(name, role="t2", size=12))
            form.addWidget(field)
            form.addSpacing(8)
        column.addWidget(self._choices)
        self._notes = label("", role="t2", size=12)
        self._notes.setWordWrap(True)
        column.addWidget(self._notes)
        self._problem = QVBoxLayout()
        column.addLayout(self._problem)
        column.addSpacing(4)
        row = QHBoxLayout()
        row.setSpacing(8)
        self.add = push_button("Add", kind="primary")
        self.other = push_button("Open another…")
        row.addWidget(self.add)
        row.addWidget(self.other)
        row.addStretch(1)
        column.addLayout(row)
        column.addStretch(1)
        self.network.currentIndexChanged.connect(self._network_changed)
        self.add.clicked.connect(self._add)
        self.other.clicked.connect(self.other_wanted)

    @property
    def sentence(self) -> str:
        """What was found, or that it is being looked for."""
        return self._text.text()

    def show_looking(self, path: Path) -> None:
        """The worker is looking into this file."""
        self._begin(path, "Looking for the network it belongs to…")
        self._bar.set_fraction(None)
        self._bar.show()

    def show_error(self, path: Path, error: UserError) -> None:
        self._begin(path, "")
        card = NoticeCard.of(error)
        card.dismissed.connect(self.closed)
        self._problem.addWidget(card)
        self.other.show()

    def show_findings(self, findings: Findings, published: str, networks: int) -> None:
        """`published` is the title of the listed checkpoint this file is, or empty; of `networks` in all."""
        self._begin(findings.path, _found_words(findings, published, networks))
        self._findings = findings
        self._networks = list(findings.candidates)
        self._notes.setText("\n".join(findings.notes))
        self._notes.setVisible(bool(findings.notes) and bool(self._networks))
        self.other.setVisible(not self._networks)
        if not self._networks:
            return
        self.network.clear()
        for candidate in self._networks:
            number = f" · {candidate.num_classes} classes" if candidate.num_classes else ""
            self.network.addItem(f"{candidate.spec.title}{number}")
        self._choices.show()
        self.add.show()
        self.add.setFocus()

    def _begin(self, path: Path, words: str) -> None:
        self._findings = None
        self._title.setText(path.name)
        self._place.setText(str(path.parent))
        self._text.setText(words)
        self._text.setVisible(bool(words))
        for widget in (self._bar, self._choices, self._notes, self.add, self.other):
            widget.hide()
        while (item := self._problem.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()

    def _network_changed(self, index: int) -> None:
        findings = self._findings
        if findings is None or not 0 <= index < len(self._networks):
            return
        self.classes.clear()
        self._tables = []
        if findings.named:
            self._tables.append(None)
            self.classes.addItem("As the file names them")
        for taxonomy in findings.taxonomies(self._networks[index]):
            self._tables.append(taxonomy)
            self.classes.addItem(taxonomy.title)
        if not findings.named:
            self._tables.append(None)
            number = self._networks[index].num_classes
            self.classes.addItem(f"Class 0 … {number - 1}" if number else "Numbers")

    def _add(self) -> None:
        if self._findings is not None:
            candidate = self._networks[self.network.currentIndex()]
            self.add_wanted.emit(self._findings, candidate, self._tables[self.classes.currentIndex()])


def _found_words(findings: Findings, published: str, networks: int) -> str:
    if findings.pretraining:
        return (
            f"These are pre-training weights ({findings.pretraining}) to start a training from, not a "
            "network for masks: Train, New run, Start from."
        )
    if findings.candidates:
        first = findings.candidates[0]
        if published:
            return f"This is the published checkpoint {published}."
        layout = f", in the layout of {first.layout}" if first.layout else ""
        return f"These are weights of {first.spec.title}{layout}."
    if findings.others:
        return (
            f"These are weights of {findings.others[0]} without a head that tells classes apart, so there is "
            "nothing to compare. A training run can start from them: Train, New run, Start from."
        )
    return (
        f"None of the {networks} networks here has these {findings.tensors} tensors. "
        "Nothing was changed. A plugin could bring the network they belong to."
    )
