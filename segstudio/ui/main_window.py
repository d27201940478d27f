"""The window: rail, top bar, rooms, image strip, status bar. It is painted before anything heavy loads.

Order of a start: frame and first page are painted (Qt only), then `complete` brings in the project session
and the reader process, then the worker process and the models. Rooms are made part by part: the first while
nobody does anything, the others after it was entered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QEvent, QTimer, Signal
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from segstudio.core.errors import UserError
from segstudio.core.formats import FORMATS
from segstudio.core.resources import resource
from segstudio.runtime.actions import ActionTable
from segstudio.runtime.turns import Turns
from segstudio.ui.engines import make_services, start_engines, stop_engines
from segstudio.ui.first_launch import FirstLaunch
from segstudio.ui.focus_ring import FocusRing
from segstudio.ui.job_drawer import JobDrawer
from segstudio.ui.notices import Notices
from segstudio.ui.rail import Rail
from segstudio.ui.read_outs import ReadOuts
from segstudio.ui.remembered import settings, settings_problems, write_remembered
from segstudio.ui.room import Room, Services, WindowStatus
from segstudio.ui.rooms import Rooms
from segstudio.ui.status_bar import StatusBar
from segstudio.ui.top_bar import TopBar
from segstudio.ui.window_actions import (
    bind_window_actions,
    enable_project_actions,
    enable_steps,
    show_keys,
    show_models,
    show_settings,
    use_theme,
)
from segstudio.ui.window_body import WindowBody

if TYPE_CHECKING:
    from segstudio.runtime.runnable_models import RunnableModel
    from segstudio.runtime.session import ProjectSession
    from segstudio.ui.filmstrip import Filmstrip

MINIMUM = (1024, 680)
_RECENT = 8
_WEIGHTS = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")  # dropped on the window: looked into


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
        self._wish: tuple[Path, str] | None = None
        self._demo_wanted = False
        self._import_wanted = False
        self._turns = Turns(self)
        self.services: Services | None = None
        self.filmstrip: Filmstrip | None = None
        self.actions_table = ActionTable(self)
        self.status = WindowStatus()
        self._build()
        bind_window_actions(self)
        self._connect()
        self.resize(*_size_wish())

    # -- parts -----------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.top_bar = TopBar(self.actions_table)
        self.rail = Rail()
        self.rooms = Rooms()
        for number, entry in enumerate(self.rooms.entries, start=1):
            self.rail.add_room(entry.title, entry.icon, f"Alt+{number}")
        self.status_bar = StatusBar()
        self.start_page = FirstLaunch(
            recent=_recent(),
            import_formats=[entry.title for entry in FORMATS],
            has_demo=resource("demo").is_dir(),
        )
        self.pages = QStackedWidget()
        self.pages.addWidget(self.start_page)
        self.pages.addWidget(self.rooms)
        self.job_drawer = JobDrawer()
        self._body = WindowBody(self.pages, self.job_drawer)
        middle = QHBoxLayout()
        middle.setSpacing(0)
        middle.addWidget(self.rail)
        middle.addWidget(self._body, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.top_bar)
        column.addLayout(middle, 1)
        column.addWidget(self.status_bar)
        self.notices = Notices(self._body)
        self.read_outs = ReadOuts(self.top_bar, self.status_bar, self.status)
        self._ring = FocusRing(self)

    def _connect(self) -> None:
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
        self.status.compare_wanted.connect(self._compare)
        self.rooms.entered.connect(self._entered)
        settings_problems().failed.connect(self.show_error)
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
        from segstudio.ui.project.news import ProjectNews

        services = self.services = make_services(self, self._plugin_files)
        if services.jobs is not None:
            self.job_drawer.set_queue(services.jobs)
        self.filmstrip = services.filmstrip = Filmstrip(services.session)
        self.rooms.set_foot(self.filmstrip)
        self.read_outs.follow(services)
        self._news = ProjectNews(services.session, self.notices, self.actions_table, self.rooms, parent=self)
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
        self.rooms.read_ahead()
        if self.services is not None:
            self.rooms.make_ahead(self.rooms.entries[0], self.services)

    def _follow(self, session: ProjectSession) -> None:
        session.opened.connect(self._opened)
        session.closed.connect(self._closed)
        session.opening_failed.connect(self._show_start_page)
        session.scanned.connect(self._scanned)
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

    def export_labels(self) -> None:
        """Ask for format, images and folder; one dialog at a time."""
        from segstudio.ui.dialogs.export_labels import ExportDialog

        open_one = self.findChild(ExportDialog)
        if open_one is not None:
            open_one.activateWindow()
        elif self.session is not None and self.session.project is not None:
            ExportDialog(self).show()

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
        self._turns.add(
            lambda: self.pages.setCurrentIndex(1),
            lambda: self.enter(self.rooms.wanted or self.rooms.entries[0].title),
        )

    def _closed(self) -> None:
        self._turns.clear()
        self.rooms.leave()
        self.actions_table.set_scope("")
        enable_project_actions(self, False)
        self.rail.show_chosen("")
        self.start_page.set_recent(_recent())
        if self.session is None or not self.session.is_opening:
            self._show_start_page()

    def _show_start_page(self) -> None:
        self.pages.setCurrentIndex(0)

    def _scanned(self, _report: object) -> None:
        if self._import_wanted:
            self._import_wanted = False
            self.import_labels()
        else:
            self._news.look_for_changed_copies()

    # -- rooms -----------------------------------------------------------------------------------------

    def enter(self, title: str, then: Callable[[Any], None] | None = None) -> None:
        """Bring a room to the front; `then` gets it. Without a project a notice says why not."""
        entry = self.rooms.entry(title)
        if entry is None or self.services is None:
            return
        if self.services.session.project is None:
            self.rail.show_chosen("")
            words = "Open a folder or the demo first"
            self.notices.show_notice(words, "Open a folder…", self.choose_folder, done=False)
            return
        self.actions_table.set_scope(title.lower())
        self.rail.show_chosen(title)
        self.pages.setCurrentIndex(1)
        self.rooms.enter(entry, self.services, then)

    def _entered(self, room: Room) -> None:
        self.status_bar.set_hint(room.status_hint())
        self.read_outs.show_zoom()
        if self._engines and self.services is not None:
            for entry in self.rooms.entries:
                self.rooms.make_ahead(entry, self.services)

    def _compare(self, runnable: RunnableModel) -> None:
        """Another room asks for this model: its pane comes in front."""
        self.enter("Compare", lambda room: room.show_model(runnable))

    # -- panels ----------------------------------------------------------------------------------------

    def show_error(self, error: UserError, *, warning: bool = False) -> None:
        """A card at the top of the room for something a person should know."""
        self.notices.show_error(error, severity="warn" if warning else "err")

    def toggle_jobs(self) -> None:
        """Show or hide the job drawer."""
        self.actions_table.action("window.jobs").setChecked(self._body.toggle_drawer())

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

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        if paths:
            event.acceptProposedAction()
            if paths[0].suffix.lower() in _WEIGHTS:
                show_models(self, paths[0])
            else:
                self.open(paths[0])

    def closeEvent(self, event: QCloseEvent) -> None:
        if not self.rooms.may_close():
            event.ignore()
            return
        write_remembered()
        if not self.isMaximized() and not self.isFullScreen():
            settings().set("window.size", [self.width(), self.height()])
        settings().set("window.maximised", self.isMaximized())
        self.hide()
        self.shut_down()
        settings().flush()
        event.accept()

    def shut_down(self) -> None:
        """End every process and thread of this window; takes about a second at most."""
        services, self.services = self.services, None
        if services is None:
            return
        self.rooms.shut_down()
        stop_engines(services)


def _recent() -> list[str]:
    """Folders opened before that are still there, the last one first."""
    return [path for path in settings().get("recent", []) if Path(path).is_dir()]


def _size_wish() -> tuple[int, int]:
    kept = settings().get("window.size", [1600, 1000])
    try:
        return max(MINIMUM[0], int(kept[0])), max(MINIMUM[1], int(kept[1]))
    except (TypeError, ValueError, IndexError):
        return 1600, 1000
