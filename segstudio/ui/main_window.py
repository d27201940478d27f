"""The window: rail, top bar, rooms, image strip, status bar. It is painted before anything heavy loads.

Order of a start: frame and first page are painted (Qt only), then `complete` brings in the project session
and the reader process, then the worker process and the models. Rooms are made when somebody enters them.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QEvent, QObject, QTimer, Signal
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QStackedWidget, QVBoxLayout, QWidget

from segstudio.core.errors import UserError
from segstudio.core.formats import FORMATS
from segstudio.core.resources import resource
from segstudio.runtime.actions import ActionTable
from segstudio.ui.engines import make_services, start_engines, stop_engines
from segstudio.ui.first_launch import FirstLaunch
from segstudio.ui.focus_ring import FocusRing
from segstudio.ui.job_drawer import WIDTH as DRAWER_WIDTH
from segstudio.ui.job_drawer import JobDrawer
from segstudio.ui.notices import Notices
from segstudio.ui.rail import Rail
from segstudio.ui.read_outs import ReadOuts
from segstudio.ui.remembered import settings, write_remembered
from segstudio.ui.room import Room, Services, WindowStatus
from segstudio.ui.status_bar import StatusBar
from segstudio.ui.top_bar import TopBar
from segstudio.ui.window_actions import (
    bind_window_actions,
    enable_project_actions,
    enable_steps,
    show_keys,
    show_settings,
    use_theme,
)

if TYPE_CHECKING:
    from segstudio.runtime.session import ProjectSession
    from segstudio.ui.filmstrip import Filmstrip

MINIMUM = (1024, 680)
_PUSHES_FROM = 1336  # a narrower body lets the job drawer lie over the room
_RECENT = 8


@dataclass(frozen=True, slots=True)
class RoomEntry:
    """A room that exists where its module does."""

    title: str
    icon: str
    module: str
    name: str


ROOMS = (
    RoomEntry("Annotate", "annotate", "segstudio.ui.annotate.room", "AnnotateRoom"),
    RoomEntry("Compare", "compare", "segstudio.ui.compare.room", "CompareRoom"),
    RoomEntry("Attention", "attention", "segstudio.ui.attention.room", "AttentionRoom"),
    RoomEntry("Train", "train", "segstudio.ui.train.room", "TrainRoom"),
)


class MainWindow(QWidget):
    """One window with one project. `completed` when session and reader are there."""

    painted = Signal()  # the first paint is over
    completed = Signal()

    def __init__(self, *, plugin_files: Sequence[Path] = (), engines: bool = True) -> None:
        """`engines=False` starts no process by itself (tests of the window alone)."""
        super().__init__()
        self.setWindowTitle("SegStudio")
        self.setMinimumSize(*MINIMUM)
        self.setAcceptDrops(True)
        self._plugin_files = tuple(plugin_files)
        self._engines = engines
        self._is_painted = False
        self._rooms: dict[str, Room] = {}
        self._room: Room | None = None
        self._wish: tuple[Path, str] | None = None
        self._demo_wanted = False
        self._import_wanted = False
        self.services: Services | None = None
        self.filmstrip: Filmstrip | None = None
        self.actions_table = ActionTable(self)
        self.status = WindowStatus()
        self.entries = [entry for entry in ROOMS if importlib.util.find_spec(entry.module) is not None]
        self._build()
        bind_window_actions(self)
        self._connect()
        self.resize(*_size_wish())

    # -- parts -----------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.top_bar = TopBar(self.actions_table)
        self.rail = Rail()
        for number, entry in enumerate(self.entries, start=1):
            self.rail.add_room(entry.title, entry.icon, f"Alt+{number}")
        self.status_bar = StatusBar()
        self.start_page = FirstLaunch(
            recent=_recent(),
            import_formats=[entry.title for entry in FORMATS],
            has_demo=resource("demo").is_dir(),
        )
        self.option_bars = QStackedWidget()
        self.option_bars.setObjectName("OptionBar")
        self.option_bars.setFixedHeight(40)
        self.room_stack = QStackedWidget()
        self.room_stack.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        workspace = QWidget()
        self._work_column = _tight(QVBoxLayout(workspace))
        self._work_column.addWidget(self.option_bars)
        self._work_column.addWidget(self.room_stack, 1)
        self.pages = QStackedWidget()
        self.pages.addWidget(self.start_page)
        self.pages.addWidget(workspace)
        self._body = QFrame()
        self._body_row = _tight(QHBoxLayout(self._body))
        self._body_row.addWidget(self.pages)
        self.job_drawer = JobDrawer()
        self.job_drawer.setParent(self._body)
        self.job_drawer.hide()
        middle = QHBoxLayout()
        middle.setSpacing(0)
        middle.addWidget(self.rail)
        middle.addWidget(self._body, 1)
        column = _tight(QVBoxLayout(self))
        column.addWidget(self.top_bar)
        column.addLayout(middle, 1)
        column.addWidget(self.status_bar)
        self.notices = Notices(self._body)
        self.read_outs = ReadOuts(self.top_bar, self.status_bar, self.status)
        self._ring = FocusRing(self)

    def _connect(self) -> None:
        self._body.installEventFilter(self)
        self.rail.room_chosen.connect(self.enter)
        self.rail.foot_chosen.connect(self._foot)
        self.top_bar.project_button.clicked.connect(lambda: self._show_project_menu(at_rail=False))
        self.top_bar.command_field.clicked.connect(self.actions_table.action("window.palette").trigger)
        self.status_bar.jobs_clicked.connect(self.actions_table.action("window.jobs").trigger)
        self.job_drawer.closed.connect(self.actions_table.action("window.jobs").trigger)
        self.job_drawer.error_wanted.connect(self.show_error)
        self.read_outs.title_changed.connect(self.setWindowTitle)
        self.read_outs.devices_known.connect(self.start_page.computer.show_devices)
        self.status.notice.connect(self.notices.show_notice)
        self.status.error.connect(self.show_error)
        self.status.room_wanted.connect(self.enter)
        page = self.start_page
        page.demo_wanted.connect(self.open_demo)
        page.open_wanted.connect(self.choose_folder)
        page.import_wanted.connect(self.import_labels)
        page.keys_wanted.connect(lambda: show_keys(self))
        page.recent_chosen.connect(lambda path: self.open(Path(path)))
        page.theme_chosen.connect(use_theme)

    # -- start -----------------------------------------------------------------------------------------

    def event(self, event: QEvent) -> bool:
        handled = super().event(event)
        if event.type() == QEvent.Type.Paint and not self._is_painted:
            self._is_painted = True
            # The paint is handed to the screen when this event returns.
            QTimer.singleShot(0, self, self._after_first_paint)
        return handled

    def _after_first_paint(self) -> None:
        self.painted.emit()
        if self._engines:
            QTimer.singleShot(0, self, self.complete)

    def complete(self) -> None:
        """Bring in what the first paint did without; a second call does nothing."""
        if self.services is not None:
            return
        from segstudio.core.settings import data_folder
        from segstudio.ui.filmstrip import Filmstrip

        services = self.services = make_services(self, self._plugin_files)
        if services.jobs is not None:
            self.job_drawer.set_queue(services.jobs)
        self.filmstrip = services.filmstrip = Filmstrip(services.session)
        self._work_column.addWidget(self.filmstrip)
        self.read_outs.follow(services)
        self._follow(services.session)
        self.start_page.computer.show_disk(data_folder())
        self.start_page.show_pictures()
        if self._engines:
            services.session.reader.start()
            QTimer.singleShot(50, self, self._start_engines)
        if self._wish is not None:
            folder, image = self._wish
            self._wish = None
            self.open(folder, image)
        elif self._demo_wanted:
            self.open_demo()
        self.completed.emit()

    def _start_engines(self) -> None:
        start_engines(self)
        QTimer.singleShot(100, self, self._make_first_room)

    def _make_first_room(self) -> None:
        """While nobody waits, so that the first project opens without a pause."""
        if self.services is not None and self.entries[0].title not in self._rooms:
            self._make_room(self.entries[0])

    def _follow(self, session: ProjectSession) -> None:
        session.opened.connect(self._opened)
        session.closed.connect(self._closed)
        session.problem.connect(self._session_problem)
        session.scanned.connect(self._scanned)
        session.undone.connect(self._undone)
        session.history_changed.connect(lambda: enable_steps(self))
        session.saved_changed.connect(lambda _saved: enable_steps(self))
        session.current_changed.connect(lambda: enable_steps(self))

    # -- project ---------------------------------------------------------------------------------------

    @property
    def session(self) -> ProjectSession | None:
        return self.services.session if self.services is not None else None

    def open(self, folder: Path, show: str = "") -> None:
        """Open a folder of images (or the folder of an image file) as the project of this window."""
        folder = folder.expanduser().resolve()
        if folder.is_file():
            folder, show = folder.parent, folder.name
        if self.session is None:
            self._wish = (folder, show)
            return
        self.session.open(folder, show=show)

    def choose_folder(self) -> None:
        """Ask for a folder and open it."""
        from segstudio.ui.dialogs.folder import ask_folder

        folder = ask_folder(self)
        if folder is not None:
            self.open(folder)

    def open_demo(self) -> None:
        """Copy the demo beside the person's other data (once) and open it."""
        from segstudio.runtime.demo import demo_folder, fill_demo

        if self.session is None:
            self._demo_wanted = True
            return
        try:
            folder = demo_folder()
        except OSError as error:
            self.show_error(UserError("The demo could not be copied", details=str(error)))
            return
        self.session.open(folder, prepare=fill_demo)

    def import_labels(self) -> None:
        """Ask what to import; without a project first ask for the folder of images."""
        if self.session is None or self.session.project is None:
            self._import_wanted = True
            self.choose_folder()
            return
        from segstudio.ui.dialogs.import_labels import ImportDialog

        ImportDialog(self).open()

    def close_project(self) -> None:
        """Close the project and show the first page."""
        if self.session is not None:
            self.session.close()

    def _opened(self) -> None:
        session = self.session
        if session is None or session.project is None:
            return
        folder = str(session.project.folder)
        recent = [folder, *(path for path in settings().get("recent", []) if path != folder)]
        settings().set("recent", recent[:_RECENT])
        enable_project_actions(self, True)
        self.status_bar.set_ready("")
        self.pages.setCurrentIndex(1)
        self.enter(self._room.title if self._room is not None else self.entries[0].title)
        for sentence in (session.read_only_reason, session.project.home_note):
            if sentence:
                self.show_error(UserError(sentence.rstrip(".")), warning=True)

    def _closed(self) -> None:
        if self._room is not None:
            self._room.deactivated()
            self._room = None
        self.actions_table.set_scope("")
        enable_project_actions(self, False)
        self.rail.show_chosen("")
        self.start_page.set_recent(_recent())
        self.pages.setCurrentIndex(0)

    def _session_problem(self, error: UserError) -> None:
        """Annotate says in the picture's own place what is wrong with its file; no card on top of that."""
        image = self.session.image if self.session is not None else None
        in_place = (
            image is not None and image.problem is error and getattr(self._room, "shows_problems", False)
        )
        if not in_place:
            self.show_error(error)

    def _scanned(self, report: Any) -> None:
        if report.skipped:
            count = len(report.skipped)
            words = "1 entry of the folder was" if count == 1 else f"{count} entries of the folder were"
            details = "\n".join(f"{path}: {why}" for path, why in report.skipped)
            error = UserError(f"{words} left out", where="as no pictures to label", details=details)
            self.show_error(error, warning=True)
        if self._import_wanted:
            self._import_wanted = False
            self.import_labels()
        elif self.session is not None and not self.session.read_only_reason:
            self.session.read(lambda project: project.changed_copies(), self._offer_copies)

    def _offer_copies(self, changed: list[tuple[int, Path]]) -> None:
        """Label pictures that another program wrote over: nothing is lost, and nothing taken unasked."""
        session = self.session
        if not changed or session is None:
            return
        names = "\n".join(str(path) for _image, path in changed)
        count = len(changed)
        error = UserError(
            "1 label picture was changed" if count == 1 else f"{count} label pictures were changed",
            where="by another program since SegStudio wrote it" if count == 1 else "by another program",
            action="Take them over as a step that can be undone, or keep the project's labels.",
            details=names,
        )
        from segstudio.runtime.label_import import take_copies

        take = ("Take over", lambda: take_copies(session, changed))
        self.notices.show_error(error, severity="warn", buttons=[take])

    def _undone(self, tool: str, class_index: int, _where: object, redo: bool) -> None:
        session = self.session
        entry = session.class_of(class_index) if session is not None else None
        what = tool.replace("_", " ").capitalize() + (f" · {entry.name}" if entry is not None else "")
        action = self.actions_table.action("edit.undo" if redo else "edit.redo")
        word = "Redone" if redo else "Undone"
        self.notices.show_notice(f"{word}: {what}", "Undo" if redo else "Redo", action.trigger)

    # -- rooms -----------------------------------------------------------------------------------------

    @property
    def room(self) -> Room | None:
        """The room in front."""
        return self._room

    def room_named(self, title: str) -> Room | None:
        """A room that was made already."""
        return self._rooms.get(title)

    def enter(self, title: str) -> None:
        """Bring a room to the front, making it the first time; without a project a notice says why not."""
        entry = next((entry for entry in self.entries if entry.title == title), None)
        if entry is None or self.services is None:
            return
        if self.services.session.project is None:
            self.rail.show_chosen("")
            words = "Open a folder or the demo first"
            self.notices.show_notice(words, "Open a folder…", self.choose_folder, done=False)
            return
        room = self._rooms.get(title) or self._make_room(entry)
        if self._room is not None and self._room is not room:
            self._room.deactivated()
        self._room = room
        self.actions_table.set_scope(title.lower())
        self.room_stack.setCurrentWidget(room.widget())
        bar = room.option_bar()
        self.option_bars.setVisible(bar is not None)
        if bar is not None:
            self.option_bars.setCurrentWidget(bar)
        if self.filmstrip is not None:
            self.filmstrip.setVisible(getattr(room, "shows_filmstrip", True))
        self.rail.show_chosen(title)
        self.pages.setCurrentIndex(1)
        room.activated()
        self.status_bar.set_hint(room.status_hint())
        self.read_outs.show_zoom()

    def _make_room(self, entry: RoomEntry) -> Room:
        room: Room = getattr(importlib.import_module(entry.module), entry.name)(self.services)
        self._rooms[entry.title] = room
        self.room_stack.addWidget(room.widget())
        bar = room.option_bar()
        if bar is not None:
            self.option_bars.addWidget(bar)
        return room

    # -- panels ----------------------------------------------------------------------------------------

    def show_error(self, error: UserError, *, warning: bool = False) -> None:
        """A card at the top of the room for something a person should know."""
        self.notices.show_error(error, severity="warn" if warning else "err")

    def toggle_jobs(self) -> None:
        """Show or hide the job drawer."""
        shown = self.job_drawer.isHidden()
        self.job_drawer.setVisible(shown)
        self.actions_table.action("window.jobs").setChecked(shown)
        self._place_drawer()

    def _place_drawer(self) -> None:
        shown = not self.job_drawer.isHidden()
        pushes = shown and self._body.width() >= _PUSHES_FROM
        self._body_row.setContentsMargins(0, 0, DRAWER_WIDTH if pushes else 0, 0)
        self.job_drawer.setGeometry(self._body.width() - DRAWER_WIDTH, 0, DRAWER_WIDTH, self._body.height())
        if shown:
            self.job_drawer.raise_()

    def _foot(self, name: str) -> None:
        if name == "settings":
            show_settings(self)
        else:
            self._show_project_menu(at_rail=True)

    def _show_project_menu(self, *, at_rail: bool) -> None:
        from segstudio.ui.project.menu import project_menu

        anchor: QWidget = self.rail.project_button if at_rail else self.top_bar.project_button
        corner = anchor.rect().topRight() if at_rail else anchor.rect().bottomLeft()
        project_menu(self).popup(anchor.mapToGlobal(corner))

    # -- events ----------------------------------------------------------------------------------------

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize:
            self._place_drawer()
        return False

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        if paths:
            event.acceptProposedAction()
            self.open(paths[0])

    def closeEvent(self, event: QCloseEvent) -> None:
        for room in self._rooms.values():
            may_close = getattr(room, "may_close", None)
            if may_close is not None and not may_close():
                event.ignore()
                return
        write_remembered()
        if not self.isMaximized() and not self.isFullScreen():
            settings().set("window.size", [self.width(), self.height()])
        settings().set("window.maximised", self.isMaximized())
        self.hide()
        self.shut_down()
        event.accept()

    def shut_down(self) -> None:
        """End every process and thread of this window; takes about a second at most."""
        services, self.services = self.services, None
        if services is None:
            return
        for room in self._rooms.values():
            closing = getattr(room, "shut_down", None)
            if closing is not None:
                closing()
        stop_engines(services)


def _tight(layout: Any) -> Any:
    """A layout without margins and gaps."""
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(0)
    return layout


def _recent() -> list[str]:
    """Folders opened before that are still there, the last one first."""
    return [path for path in settings().get("recent", []) if Path(path).is_dir()]


def _size_wish() -> tuple[int, int]:
    kept = settings().get("window.size", [1600, 1000])
    try:
        return max(MINIMUM[0], int(kept[0])), max(MINIMUM[1], int(kept[1]))
    except (TypeError, ValueError, IndexError):
        return 1600, 1000
