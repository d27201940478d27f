"""What the main window asks of a room (Annotate, Compare, Attention, Train).

A room is made after the first paint, ahead or when somebody enters it, and gets the window's shared services
in its constructor: `Room(services: Services)`. The constructor makes an empty widget; `parts` fills it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QWidget

if TYPE_CHECKING:
    from segstudio.runtime.actions import ActionTable
    from segstudio.runtime.jobs import JobQueue
    from segstudio.runtime.model_shelf import ModelShelf
    from segstudio.runtime.predictions import Predictions
    from segstudio.runtime.published_weights import PublishedWeights
    from segstudio.runtime.runs import Runs
    from segstudio.runtime.session import ProjectSession
    from segstudio.runtime.worker_client import WorkerClient
    from segstudio.ui.canvas.viewport import Viewport
    from segstudio.ui.filmstrip import Filmstrip


class Room(Protocol):
    """One tab. `key` is its shortcut ("Alt+1"); `icon` names a file in resources/icons.

    A room may also have `shows_filmstrip = False`, `folds_filmstrip = True` (to its header, until somebody
    unfolds it), `shows_problems = True` (it says itself what is wrong with the file in front),
    `may_close() -> bool` (asked before the window closes) and `shut_down()` (called when it closes).
    """

    title: str
    icon: str
    key: str

    def widget(self) -> QWidget:
        """The room's content below the option bar. The same widget every time, there from the beginning."""
        ...

    def parts(self) -> Iterator[None]:
        """Makes the room, from yield to yield for no longer than half a frame.

        Called once. Until it is through, the room is asked for nothing but its `widget`.
        """
        ...

    def option_bar(self) -> QWidget | None:
        """What belongs into the 40 px bar above the content, or None for no bar."""
        ...

    def activated(self) -> None:
        """The room is in front now."""
        ...

    def deactivated(self) -> None:
        """Another room came in front."""
        ...

    def status_hint(self) -> str:
        """What the status bar says in its middle. Words in [brackets] are drawn as key caps."""
        ...


class WindowStatus(QObject):
    """What the rooms tell the status bar, and what they ask of the window around them."""

    pointed = Signal(object, object)  # (x, y) image pixel or None; class (name, QColor) or None
    zoomed = Signal(float)  # scale: 1.0 = one image pixel on one logical pixel
    hint_changed = Signal(str)  # [brackets] become key caps
    notice = Signal(str, str, object)  # sentence, word on the button or "", callable or None
    error = Signal(object)  # UserError: becomes a card
    room_wanted = Signal(str)  # title of a room to go to
    compare_wanted = Signal(object)  # RunnableModel that Compare shows in a pane

    def point(self, x: int, y: int, name: str, color: QColor) -> None:
        """Report the pixel and the class under the pointer."""
        self.pointed.emit((x, y), (name, color))

    def leave(self) -> None:
        """Report that the pointer is over no image."""
        self.pointed.emit(None, None)


class Services:
    """The window's shared objects, handed to every room. `filmstrip.set_order` shows a ranking."""

    def __init__(
        self,
        *,
        session: ProjectSession,
        actions: ActionTable,
        status: WindowStatus,
        viewport: Viewport,
        worker: WorkerClient | None,
        shelf: ModelShelf | None,
        jobs: JobQueue | None,
    ) -> None:
        self.session = session
        self.actions = actions
        self.status = status
        self.viewport = viewport
        self.worker = worker
        self.shelf = shelf
        self.jobs = jobs
        self.filmstrip: Filmstrip | None = None
        self._predictions: Predictions | None = None
        self._runs: Runs | None = None
        self._weights: PublishedWeights | None = None
        # Runs count from the opening of their project: weights go on the shelf, work shows in the drawer.
        session.opened.connect(lambda: self.runs)

    @property
    def predictions(self) -> Predictions | None:
        """What models said, shared by all rooms; made when first asked for. None without a worker."""
        if self._predictions is None and self.worker is not None:
            from segstudio.runtime.predictions import Predictions

            self._predictions = Predictions(
                self.session, self.worker, self.session.reader, self.jobs, parent=self.session
            )
        return self._predictions

    @property
    def weights(self) -> PublishedWeights | None:
        """All networks and their published weights; made when first asked for. None without a worker."""
        ready = self.shelf is not None and self.worker is not None and self.jobs is not None
        if self._weights is None and ready:
            from segstudio.runtime.published_weights import PublishedWeights

            assert self.shelf is not None and self.worker is not None and self.jobs is not None
            self._weights = PublishedWeights(self.shelf, self.worker, self.jobs, parent=self.session)
        return self._weights

    def end_downloads(self) -> None:
        """What has arrived is kept; the next download goes on from there."""
        if self._weights is not None:
            self._weights.close()

    def end_runs(self) -> None:
        """Nobody watches the runs any more; they go on."""
        if self._runs is not None:
            self._runs.shut_down()

    def end_predictions(self) -> None:
        """No network is asked any more."""
        if self._predictions is not None:
            self._predictions.close()

    @property
    def runs(self) -> Runs:
        """The training runs of the project; they are watched from the first time somebody asks."""
        if self._runs is None:
            from segstudio.runtime.runs import Runs

            self._runs = Runs(self.jobs, self.session)
            self._runs.follow(self.session, self.shelf)
        return self._runs
