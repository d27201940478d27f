"""The page of all networks: search and filters above, the list on the left, one network's card beside it."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import (
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from segstudio.core.errors import UserError
from segstudio.plugin_api import Taxonomy
from segstudio.runtime.model_shelf import ModelShelf
from segstudio.runtime.network_search import matches, nearest, searchable
from segstudio.runtime.opened_weights import SUFFIXES, Candidate, Findings, OpenedWeights
from segstudio.runtime.published_weights import Offer, PublishedWeights, title_of
from segstudio.runtime.runnable_models import RunnableModel
from segstudio.ui.models.card import NetworkCard
from segstudio.ui.models.card_body import WIDTH
from segstudio.ui.models.file_card import FileCard
from segstudio.ui.models.filter_bar import FilterBar
from segstudio.ui.models.table import NetworksTable
from segstudio.ui.room import Services
from segstudio.ui.widgets.card import NoticeCard
from segstudio.ui.widgets.empty_state import EmptyState
from segstudio.ui.widgets.labels import label


class NetworksPage(QWidget):
    """`closed` when the person is done; `train_wanted(model id)` goes to the Train tab."""

    closed = Signal()
    train_wanted = Signal(str)

    def __init__(self, services: Services, weights: PublishedWeights) -> None:
        super().__init__()
        shelf, worker = services.shelf, services.worker
        assert shelf is not None and worker is not None, "the page lists the shelf's networks"
        self._services = services
        self._shelf: ModelShelf = shelf
        self._weights = weights
        self._opened = OpenedWeights(shelf, worker, self)
        self._path = Path()
        self._haystacks: dict[str, str] = {}
        self.setAcceptDrops(True)
        self.bar = FilterBar()
        self.table = NetworksTable(weights)
        self.card = NetworkCard(weights)
        self.file_card = FileCard()
        self._lists_anew = False
        self._empty = EmptyState("search", "", "", button="Show all networks")
        self._problems = QVBoxLayout()
        self._count = label("", role="t2", size=12)
        self._told: tuple[object, ...] = ()
        self._guess = ""
        self._build()
        self._connect()
        self.refresh()

    # ------------------------------------------------------------------ parts

    def _build(self) -> None:
        left = QWidget()
        column = QVBoxLayout(left)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        self._problems.setContentsMargins(8, 8, 8, 8)
        self._problem_box = QWidget()
        self._problem_box.setLayout(self._problems)
        self._problem_box.hide()
        column.addWidget(self._problem_box)
        self._stack = QStackedWidget()
        self._stack.addWidget(self.table)
        self._stack.addWidget(self._empty)
        column.addWidget(self._stack, 1)
        foot = QFrame()
        foot.setObjectName("PaneHeader")
        foot.setFixedHeight(28)
        row = QHBoxLayout(foot)
        row.setContentsMargins(8, 0, 8, 0)
        row.addWidget(self._count)
        row.addStretch(1)
        column.addWidget(foot)
        self._side = QStackedWidget()
        self._side.setFixedWidth(WIDTH)
        self._side.addWidget(self.card)
        self._side.addWidget(self.file_card)
        middle = QHBoxLayout()
        middle.setContentsMargins(0, 0, 0, 0)
        middle.setSpacing(0)
        middle.addWidget(left, 1)
        middle.addWidget(self._side)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(0)
        outer.addWidget(self.bar)
        outer.addLayout(middle, 1)

    def _connect(self) -> None:
        self.bar.changed.connect(self._filter)
        self.bar.open_wanted.connect(self.choose_file)
        self.bar.closed.connect(self.closed)
        self.bar.search.installEventFilter(self)
        self.table.chosen.connect(self._show_card)
        self.table.entered_row.connect(lambda _offer: self.card.press())
        self._empty.clicked.connect(self._leave_empty)
        self._weights.changed.connect(self.refresh)
        self._weights.standing_changed.connect(lambda _key: self._show_count())
        self._weights.arrived.connect(self._arrived)
        self.card.fetch_wanted.connect(self._weights.fetch)
        self.card.cancel_wanted.connect(self._cancel)
        self.card.compare_wanted.connect(self._compare)
        self.card.train_wanted.connect(lambda offer: self.train_wanted.emit(offer.spec.id))
        self.card.remove_wanted.connect(self._weights.remove)
        self.card.copied.connect(lambda words: self._services.status.notice.emit(words, "", None))
        self._opened.found.connect(self._show_findings)
        self._opened.failed.connect(lambda error: self.file_card.show_error(self._path, error))
        self.file_card.add_wanted.connect(self._add)
        self.file_card.closed.connect(self._leave_file)
        self.file_card.other_wanted.connect(self.choose_file)

    # ------------------------------------------------------------------ showing

    def activated(self) -> None:
        """The page came in front: somebody may have put files into the folder since."""
        self._weights.refresh()
        self.bar.search.setFocus(Qt.FocusReason.OtherFocusReason)
        self.bar.search.selectAll()

    def status_hint(self) -> str:
        return "[Enter] does what the first button says · drop a file of weights to open it · [Esc] goes back"

    def refresh(self) -> None:
        """The shelf has other networks or other weights."""
        offers = self._weights.offers
        self._haystacks = {offer.key: searchable(offer) for offer in offers}
        self.bar.set_choices(
            sorted({offer.system for offer in offers}, key=str.casefold),
            sorted({offer.dataset for offer in offers if offer.dataset}, key=str.casefold),
        )
        self._lists_anew = True
        try:
            self._filter()
        finally:
            self._lists_anew = False
        self._show_problems()

    def choose(self, key: str) -> None:
        """Brings an offer in front; filters that hide it are taken away."""
        if self.table.networks.row_of(key) < 0:
            self._clear()
        row = self.table.networks.row_of(key)
        if row >= 0:
            self.table.select(row)

    def _filter(self) -> None:
        bar = self.bar
        query, system, dataset, only = bar.query, bar.system, bar.dataset, bar.standing
        shown = [
            offer
            for offer in self._weights.offers
            if (not system or offer.system == system)
            and (not dataset or offer.dataset == dataset)
            and self._stands(offer, only)
            and matches(self._haystacks.get(offer.key, ""), query)
        ]
        self.table.show_offers(shown)
        self._stack.setCurrentWidget(self.table if shown else self._empty)
        if not shown:
            self._say_empty(query)
        self._show_count()

    def _stands(self, offer: Offer, only: str) -> bool:
        if not only:
            return True
        kind = self._weights.standing(offer).kind
        if only == "here":
            return kind == "here"
        if only == "fetch":
            return offer.can_fetch and kind != "here"
        return offer.spec.trainable and kind != "unavailable"

    def _say_empty(self, query: str) -> None:
        if not self._weights.offers:
            listing = self._shelf.is_listing
            self._empty.set_texts(
                "The networks are being listed" if listing else "No networks",
                "They will appear here in a moment."
                if listing
                else "No plugin that is installed brings any.",
            )
            return
        guess = self._guess = nearest(query, self._weights.offers) if query else ""
        why = f"Did you mean {guess}?" if guess else "Other words or filters may find some."
        if self._empty.button is not None:
            self._empty.button.setText(f"Search for {guess}" if guess else "Show all networks")
        self._empty.set_texts(
            "No network fits these words" if query else "No network fits these filters", why
        )

    def _show_count(self) -> None:
        offers = self._weights.offers
        published = [offer for offer in offers if offer.checkpoint is not None]
        here = sum(self._weights.standing(offer).kind == "here" for offer in offers)
        without = sum(self._weights.standing(offer).kind == "none" for offer in offers)
        networks = len({offer.spec.id for offer in offers})
        shown = len(self.table.networks.offers)
        words = [f"{shown} of {len(offers)} shown"] if shown != len(offers) else []
        words += [f"{networks} networks", f"{len(published)} published weights", f"{here} on this computer"]
        if without:
            words.append(f"{without} networks without published weights")
        self._count.setText(" · ".join(words))

    def _show_card(self, offer: Offer | None) -> None:
        if not (self._lists_anew and self._side.currentWidget() is self.file_card):
            # A list that arrives by itself leaves the file in front that somebody has opened.
            self._opened.cancel()
            self._side.setCurrentWidget(self.card)
        self.card.show_offer(offer)

    def _show_problems(self) -> None:
        """Plugins that could not be listed, and those that need a word before they run."""
        told = (tuple(self._shelf.problems.items()), self._shelf.unapproved)
        if told == self._told:
            return
        self._told = told
        while (item := self._problems.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.deleteLater()
        for error in self._shelf.problems.values():
            self._problems.addWidget(NoticeCard.of(error, severity="warn"))
        for source in self._shelf.unapproved:
            card = NoticeCard.of(
                UserError(
                    f"The plugin {source.name} has not run yet",
                    where="because it is code from your plugin folder",
                    action="Allow it only if you know where it comes from.",
                ),
                severity="warn",
            )
            card.add_button("Allow", lambda source=source: self._shelf.allow(source))
            self._problems.addWidget(card)
        self._problem_box.setVisible(self._problems.count() > 0)

    # ------------------------------------------------------------------ verbs

    def _clear(self) -> None:
        self.bar.clear()

    def _leave_empty(self) -> None:
        """To the nearest name, or to everything there is."""
        guess = self._guess
        self._clear()
        self.bar.search.setText(guess)

    def _cancel(self, offer: Offer) -> None:
        job = self._weights.job(offer)
        if job is not None:
            job.cancel()

    def _compare(self, offer: Offer) -> None:
        runnable = self._weights.runnable(offer)
        if runnable is None:
            return
        self._services.status.compare_wanted.emit(runnable)

    def _arrived(self, runnable: RunnableModel) -> None:
        def show() -> None:
            self._services.status.compare_wanted.emit(runnable)

        self._services.status.notice.emit(f"{runnable.title} can be compared now", "Show", show)

    def choose_file(self) -> None:
        """Asks for a file of weights."""
        kinds = " ".join(f"*{suffix}" for suffix in SUFFIXES)
        chosen, _ = QFileDialog.getOpenFileName(
            self, "Open weights", str(Path.home()), f"Weights ({kinds});;All files (*)"
        )
        if chosen:
            self.open_file(Path(chosen))

    def open_file(self, path: Path) -> None:
        """Looks into a file; what it is appears beside the list."""
        self._path = path
        self.file_card.show_looking(path)
        self._side.setCurrentWidget(self.file_card)
        self._opened.open(path)

    def _show_findings(self, findings: Findings) -> None:
        listed = self._weights.find(*findings.published) if findings.published else None
        self.file_card.show_findings(
            findings, title_of(listed) if listed is not None else "", len(self._shelf.specs)
        )

    def _add(self, findings: Findings, candidate: Candidate, taxonomy: Taxonomy | None) -> None:
        self._opened.add(findings, candidate, taxonomy, self._added)

    def _added(self, key: str) -> None:
        self._side.setCurrentWidget(self.card)
        self.choose(key)
        runnable = next((model for model in self._shelf.runnable if model.key == key), None)
        if runnable is not None:
            self._arrived(runnable)

    def _leave_file(self) -> None:
        self._opened.cancel()
        self._side.setCurrentWidget(self.card)

    # ------------------------------------------------------------------ events

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Up, Down and Enter in the search field act on the list."""
        if (
            watched is self.bar.search
            and isinstance(event, QKeyEvent)
            and event.type() == QEvent.Type.KeyPress
        ):
            rows = len(self.table.networks.offers)
            if event.key() in (Qt.Key.Key_Down, Qt.Key.Key_Up) and rows:
                step = 1 if event.key() == Qt.Key.Key_Down else -1
                self.table.select(min(max(self.table.currentIndex().row() + step, 0), rows - 1))
                return True
            if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
                self.card.press()
                return True
        return super().eventFilter(watched, event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            if self._side.currentWidget() is self.file_card:
                self._leave_file()
            elif self.bar.query:
                self.bar.search.clear()
            else:
                self.closed.emit()
            return
        super().keyPressEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.bar.set_compact(self.width() < 1000)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if any(Path(url.toLocalFile()).is_file() for url in event.mimeData().urls() if url.isLocalFile()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        files = [path for path in paths if path.is_file()]
        if files:
            event.acceptProposedAction()
            self.open_file(files[0])
