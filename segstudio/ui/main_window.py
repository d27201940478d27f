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
from PySide6.QtGui import (
    QCloseEvent,
    QColor,
    QDragEnterEvent,
    QDropEvent,
    QResizeEvent,
)
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from segstudio.core.errors import UserError
from segstudio.core.resources import resource
from segstudio.runtime.actions import ActionTable
from segstudio.ui import theme
from segstudio.ui.first_launch import FirstLaunch
from segstudio.ui.focus_ring import FocusRing
from segstudio.ui.job_drawer import WIDTH as DRAWER_WIDTH
from segstudio.ui.job_drawer import JobDrawer
from segstudio.ui.notices import Notices
from segstudio.ui.rail import Rail
from segstudio.ui.remembered import settings
from segstudio.ui.room import Room, Services, WindowStatus
from segstudio.ui.status_bar import StatusBar
from segstudio.ui.top_bar import TopBar

if TYPE_CHECKING:
    from segstudio.runtime.session import ProjectSession
    from segstudio.ui.filmstrip import Filmstrip

MINIMUM = (1024, 680)
_PUSHES_FROM = 1400  # narrower windows let the job drawer lie over the room
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
    """One window with one project. `completed` when session, reader and worker are there."""

    painted = Signal()  # the first paint is over
    completed = Signal()

    def __init__(self, *, plugin_files: Sequence[Path] = (), engines: bool = True) -> None:
        """`engines=False` starts no worker process (tests of the window alone)."""
        super().__init__()
        self.setWindowTitle("SegStudio")
        self.setMinimumSize(*MINIMUM)
        self.setAcceptDrops(True)
        self._plugin_files = tuple(plugin_files)
        self._engines = engines
        self._is_painted = False
        self._is_complete = False
        self._rooms: dict[str, Room] = {}
        self._room: Room | None = None
        self._wish: tuple[Path, str] | None = None
        self._demo_wanted = False
        self.services: Services | None = None
        self.filmstrip: Filmstrip | None = None
        self.actions_table = ActionTable(self)
        self.status = WindowStatus()
        self.entries = [entry for entry in ROOMS if importlib.util.find_spec(entry.module) is not None]
        self._build()
        self._bind_actions()
        self.status.pointed.connect(self._pointed)
        self.status.zoomed.connect(self.status_bar.set_zoom)
        self.status.hint_changed.connect(self.status_bar.set_hint)
        self.status.notice.connect(self.notices.show_notice)
        self.status.error.connect(self.show_error)
        self.status.room_wanted.connect(self.enter)
        self.resize(*_size_wish())

    # -- parts -----------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.top_bar = TopBar(self.actions_table)
        self.rail = Rail()
        for number, entry in enumerate(self.entries, start=1):
            self.rail.add_room(entry.title, entry.icon, f"Alt+{number}")
        self.status_bar = StatusBar()
        self.start_page = FirstLaunch(
            recent=[path for path in settings().get("recent", []) if Path(path).is_dir()],
            import_formats=import_formats(),
            has_demo=resource("demo").is_dir(),
        )
        self.option_bars = QStackedWidget()
        self.option_bars.setObjectName("OptionBar")
        self.option_bars.setFixedHeight(40)
        self.room_stack = QStackedWidget()
        self.room_stack.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        workspace = QWidget()
        self._work_column = QVBoxLayout(workspace)
        self._work_column.setContentsMargins(0, 0, 0, 0)
        self._work_column.setSpacing(0)
        self._work_column.addWidget(self.option_bars)
        self._work_column.addWidget(self.room_stack, 1)
        self.pages = QStackedWidget()
        self.pages.addWidget(self.start_page)
        self.pages.addWidget(workspace)
        self._body = QFrame()
        self._body_row = QHBoxLayout(self._body)
        self._body_row.setContentsMargins(0, 0, 0, 0)
        self._body_row.setSpacing(0)
        self._body_row.addWidget(self.pages)
        self.job_drawer = JobDrawer()
        self.job_drawer.setParent(self._body)
        self.job_drawer.hide()
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
        FocusRing(self)
        self._body.installEventFilter(self)
        self.rail.room_chosen.connect(self.enter)
        self.rail.foot_chosen.connect(self._foot)
        self.top_bar.project_button.clicked.connect(self._show_project_menu)
        self.status_bar.jobs_clicked.connect(self.actions_table.action("window.jobs").trigger)
        self.status_bar.set_ready("Ready")
        self.status_bar.set_hint("Drop a folder of images anywhere")
        self.job_drawer.error_wanted.connect(self.show_error)
        page = self.start_page
        page.demo_wanted.connect(self.open_demo)
        page.open_wanted.connect(self.choose_folder)
        page.import_wanted.connect(self._import)
        page.keys_wanted.connect(self._show_keys)
        page.recent_chosen.connect(lambda path: self.open(Path(path)))
        page.theme_chosen.connect(self.use_theme)

    def _bind_actions(self) -> None:
        table = self.actions_table
        table.bind("project.open", self.choose_folder)
        if resource("demo").is_dir():
            table.bind("project.demo", self.open_demo)
        if import_formats():
            table.bind("project.import", self._import)
            table.enable("project.import", False, why_not="Open a folder of images first")
        table.bind("project.close", self.close_project)
        table.bind("window.palette", self._show_palette)
        table.bind("window.keys", self._show_keys)
        table.bind("window.settings", self._show_settings)
        table.bind("window.jobs", self._toggle_jobs)
        table.bind("window.theme", self._toggle_theme)
        table.bind("window.quit", self.close)
        table.bind("edit.undo", lambda: self._with_session("undo"))
        table.bind("edit.redo", lambda: self._with_session("redo"))
        for action_id, by, unlabelled in (
            ("image.next", 1, False),
            ("image.previous", -1, False),
            ("image.next_unlabelled", 1, True),
            ("image.previous_unlabelled", -1, True),
        ):
            table.bind(action_id, lambda by=by, unlabelled=unlabelled: self._step(by, unlabelled))
        table.bind("image.mark_done", lambda: self._mark("done"))
        table.bind("image.mark_check", lambda: self._mark("check"))
        for action_id, method in (
            ("view.zoom_in", "zoom_in"),
            ("view.zoom_out", "zoom_out"),
            ("view.fit", "fit"),
            ("view.one_to_one", "one_to_one"),
        ):
            table.bind(action_id, lambda method=method: self._zoom(method))
        table.bind("window.filmstrip", lambda: self.filmstrip and self.filmstrip.toggle())
        from segstudio.runtime.actions import ActionSpec

        for number, entry in enumerate(self.entries, start=1):
            spec = ActionSpec(f"room.{entry.title.lower()}", f"Go to {entry.title}", (f"Alt+{number}",))
            table.add([ActionSpec(spec.id, spec.title, spec.keys, icon=entry.icon)])
            table.bind(spec.id, lambda title=entry.title: self.enter(title))
        self.addActions(table.all_actions())
        table.changed.connect(self._take_new_actions)
        self._project_actions(False)

    def _take_new_actions(self) -> None:
        known = set(self.actions())
        self.addActions([action for action in self.actions_table.all_actions() if action not in known])

    def _project_actions(self, on: bool) -> None:
        why = "Open a folder of images first"
        table = self.actions_table
        for spec in table.available():
            needs = spec.id.startswith(("image.", "view.")) or spec.id in (
                "project.close",
                "project.import",
                "window.filmstrip",
                "edit.undo",
                "edit.redo",
            )
            if needs:
                table.enable(spec.id, on, why_not=why)

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
        """Bring in what the first paint did without: session, reader, models, worker."""
        if self._is_complete:
            return
        self._is_complete = True
        from segstudio.core.settings import data_folder
        from segstudio.runtime.jobs import JobQueue
        from segstudio.runtime.model_shelf import ModelShelf
        from segstudio.runtime.session import ProjectSession
        from segstudio.runtime.worker_client import WorkerClient
        from segstudio.ui.canvas.viewport import Viewport
        from segstudio.ui.filmstrip import Filmstrip

        reader = WorkerClient(reader=True, parent=self)
        session = ProjectSession(reader, self)
        worker = WorkerClient(plugin_files=self._plugin_files, parent=self)
        shelf = ModelShelf(plugin_files=self._plugin_files, settings=settings(), parent=self)
        jobs = JobQueue(self)
        self.services = Services(
            session=session,
            actions=self.actions_table,
            status=self.status,
            viewport=Viewport(self),
            worker=worker,
            shelf=shelf,
            jobs=jobs,
        )
        self.job_drawer.set_queue(jobs)
        jobs.changed.connect(self._show_jobs)
        self.filmstrip = Filmstrip(session)
        self._work_column.addWidget(self.filmstrip)
        self.services.filmstrip = self.filmstrip
        self._follow(session)
        self.services.viewport.changed.connect(self._zoom_changed)
        self.start_page.computer.show_disk(data_folder())
        self.start_page.show_pictures()
        if self._engines:
            reader.start()
        if self._wish is not None:
            folder, image = self._wish
            self._wish = None
            self.open(folder, image)
        elif self._demo_wanted:
            self.open_demo()
        if self._engines:
            QTimer.singleShot(50, self, self._start_engines)
        self.completed.emit()

    def _start_engines(self) -> None:
        services = self.services
        if services is None or services.worker is None or services.shelf is None:
            return
        worker, shelf = services.worker, services.shelf
        shelf.changed.connect(lambda: self.start_page.computer.show_models(shelf))
        shelf.problem.connect(self.show_error)
        shelf.consent_needed.connect(self._ask_consent)
        shelf.refresh()
        worker.crashed.connect(self._worker_crashed)
        worker.heard.connect(self._worker_heard)
        call = worker.request("devices")
        call.finished.connect(self._show_devices)
        call.failed.connect(lambda error: self.status_bar.set_device("No engine", str(error)))
        importlib.import_module(self.entries[0].module)  # so that the first room opens without a pause
        problem = second_opencv()
        if problem is not None:
            self.show_error(problem, warning=True)

    def _ask_consent(self, source: Any) -> None:
        shelf = self.services.shelf if self.services is not None else None
        if shelf is None:
            return
        error = UserError(
            f"The plugin {source.name} is code that wants to run",
            where="from your plugin folder",
            action="Allow it only if you know where it comes from.",
        )
        self.notices.show_error(error, severity="warn", buttons=[("Allow", lambda: shelf.allow(source))])

    def _follow(self, session: ProjectSession) -> None:
        session.opened.connect(self._opened)
        session.closed.connect(self._closed)
        session.current_changed.connect(self._show_place)
        session.images_changed.connect(self._show_place)
        session.image_ready.connect(self._show_place)
        session.saved_changed.connect(self._show_saved)
        session.problem.connect(self.show_error)
        session.scanned.connect(self._scanned)
        session.undone.connect(self._undone)

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
        self._project_actions(True)
        self.top_bar.set_saved(None if session.read_only_reason else True, self._note())
        self.status_bar.set_ready("")
        if self.services is not None:
            self.services.runs.look()  # from now on: weights of runs appear, runs at work show as jobs
        self.pages.setCurrentIndex(1)
        self.enter(self._room.title if self._room is not None else self.entries[0].title)
        for sentence in (session.read_only_reason, session.project.home_note):
            if sentence:
                self.show_error(UserError(sentence.rstrip(".")), warning=True)

    def _note(self) -> str:
        return "Read-only" if self.session is not None and self.session.read_only_reason else ""

    def _closed(self) -> None:
        if self._room is not None:
            self._room.deactivated()
            self._room = None
        self.actions_table.set_scope("")
        self._project_actions(False)
        self.rail.show_chosen("")
        self.pages.setCurrentIndex(0)
        self.top_bar.set_saved(None)
        self.status_bar.set_class(None)
        self.status_bar.set_zoom(None)
        self.status_bar.set_size("")
        self.status_bar.set_ready("Ready")
        self.status_bar.set_hint("Drop a folder of images anywhere")
        self._show_place()

    def _scanned(self, report: Any) -> None:
        if report.skipped:
            places = "\n".join(f"{path}: {why}" for path, why in report.skipped)
            count = len(report.skipped)
            self.status.notice.emit(f"{count} entries of the folder were left out", "Details", None)
            self.show_error(
                UserError(
                    f"{count} {'entry' if count == 1 else 'entries'} of the folder were left out",
                    where="because they hold no pictures to label",
                    details=places,
                ),
                warning=True,
            )

    # -- rooms -----------------------------------------------------------------------------------------

    def enter(self, title: str) -> None:
        """Bring a room to the front, making it the first time; without a project nothing happens."""
        entry = next((entry for entry in self.entries if entry.title == title), None)
        if entry is None or self.services is None:
            return
        if self.session is None or self.session.project is None:
            self.rail.show_chosen("")
            self.notices.show_notice("Open a folder or the demo first", "Open a folder…", self.choose_folder)
            return
        room = self._rooms.get(title)
        if room is None:
            made = getattr(importlib.import_module(entry.module), entry.name)(self.services)
            room = self._rooms[title] = made
            self.room_stack.addWidget(room.widget())
            bar = room.option_bar()
            if bar is not None:
                self.option_bars.addWidget(bar)
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
        if self.services.viewport.image_size.width():
            self._zoom_changed()

    @property
    def room(self) -> Room | None:
        """The room in front."""
        return self._room

    def room_named(self, title: str) -> Room | None:
        """A room that was made already."""
        return self._rooms.get(title)

    # -- read-outs -------------------------------------------------------------------------------------

    def _pointed(self, pixel: tuple[int, int] | None, entry: tuple[str, QColor | None] | None) -> None:
        self.status_bar.set_pixel(pixel)
        self.status_bar.set_class(entry)

    def _zoom_changed(self) -> None:
        if self.services is not None and self.session is not None and self.session.project is not None:
            self.status_bar.set_zoom(self.services.viewport.scale)

    def _show_place(self) -> None:
        session = self.session
        project = session.project if session is not None else None
        if session is None or project is None:
            self.top_bar.set_place("", "", 0, 0)
            self.setWindowTitle("SegStudio")
            return
        record = session.current
        name = record.display_name.rsplit("/", 1)[-1] if record is not None else ""
        number = session.position(record.id) + 1 if record is not None else 0
        self.top_bar.set_place(project.name, name, number, len(session.images))
        self.status_bar.set_size(session.image.description if session.image is not None else "")
        self.setWindowTitle(" – ".join(part for part in (name, project.name, "SegStudio") if part))

    def _show_saved(self, saved: bool) -> None:
        self.top_bar.set_saved(saved, self._note())

    def _undone(self, tool: str, class_index: int, _where: object, redo: bool) -> None:
        session = self.session
        entry = session.class_of(class_index) if session is not None else None
        what = tool.replace("_", " ").capitalize() + (f" · {entry.name}" if entry is not None else "")
        action = self.actions_table.action("edit.undo" if redo else "edit.redo")
        word = "Redone" if redo else "Undone"
        self.notices.show_notice(f"{word}: {what}", "Undo" if redo else "Redo", action.trigger)

    def _show_jobs(self) -> None:
        jobs = self.services.jobs.running if self.services is not None and self.services.jobs else ()
        known = [job.fraction for job in jobs if job.fraction is not None]
        self.status_bar.set_jobs(len(jobs), sum(known) / len(jobs) if known else None)

    def _show_devices(self, values: dict[str, Any]) -> None:
        devices = list(values.get("devices", []))
        self._devices = devices
        self.start_page.computer.show_devices(devices)
        best = next((entry for entry in devices if entry.get("id") != "cpu"), None)
        self._device_word = "GPU" if best is not None else "CPU"
        self._device_total = float((best or {}).get("memory") or 0)
        self.status_bar.set_device(self._device_word, "Where networks run")

    def _worker_heard(self, message: dict[str, Any]) -> None:
        memory = message.get("memory")
        if not memory or not hasattr(self, "_device_word"):
            return
        words = f"{self._device_word} {float(memory) / 1e9:.1f}"
        total = self._device_total / 1e9
        words += f" / {total:.0f} GB" if total else " GB"
        self.status_bar.set_device(words, "Where networks run, and the memory that they hold")

    def _worker_crashed(self, how: str) -> None:
        self.status.notice.emit(f"The network process ended ({how}) and was started again", "", None)

    def show_error(self, error: UserError, *, warning: bool = False) -> None:
        """A card at the top of the room for something a person should know."""
        self.notices.show_error(error, severity="warn" if warning else "err")

    # -- verbs -----------------------------------------------------------------------------------------

    def _with_session(self, method: str) -> None:
        if self.session is not None:
            getattr(self.session, method)()

    def _step(self, by: int, unlabelled: bool) -> None:
        if self.filmstrip is not None:
            self.filmstrip.step(by, unlabelled=unlabelled)

    def _mark(self, status: str) -> None:
        session = self.session
        record = session.current if session is not None else None
        if session is not None and record is not None:
            plain = "draft" if session.class_counts else "none"
            session.set_status(record.id, plain if record.status == status else status)  # type: ignore[arg-type]

    def _zoom(self, method: str) -> None:
        if self.services is None:
            return
        viewport = self.services.viewport
        if method == "fit":
            viewport.fit()
        elif method == "one_to_one":
            viewport.set_scale(1.0, viewport.cursor)
        else:
            viewport.zoom(1 if method == "zoom_in" else -1)

    def _toggle_jobs(self) -> None:
        shown = self.job_drawer.isHidden()
        self.job_drawer.setVisible(shown)
        self.actions_table.action("window.jobs").setChecked(shown)
        self._place_drawer()

    def _place_drawer(self) -> None:
        shown = not self.job_drawer.isHidden()
        pushes = shown and self._body.width() >= _PUSHES_FROM - 64
        self._body_row.setContentsMargins(0, 0, DRAWER_WIDTH if pushes else 0, 0)
        left = self._body.width() - DRAWER_WIDTH
        self.job_drawer.setGeometry(left, 0, DRAWER_WIDTH, self._body.height())
        if shown:
            self.job_drawer.raise_()

    def _toggle_theme(self) -> None:
        self.use_theme("light" if theme.appearance().dark else "dark")

    def use_theme(self, choice: theme.Choice) -> None:
        """Switch the look at once and remember it."""
        theme.appearance().use(choice)
        settings().set("view.theme", choice)

    def _show_palette(self) -> None:
        from segstudio.ui.dialogs.palette import CommandPalette

        CommandPalette(self).show()

    def _show_keys(self) -> None:
        from segstudio.ui.dialogs.key_sheet import KeySheet

        KeySheet(self, self.actions_table).show()

    def _show_settings(self) -> None:
        from segstudio.ui.dialogs.settings_dialog import SettingsDialog

        SettingsDialog(self).open()

    def _import(self) -> None:
        from segstudio.ui.dialogs.import_labels import import_labels

        import_labels(self)

    def _foot(self, name: str) -> None:
        if name == "settings":
            self._show_settings()
        else:
            self._show_project_menu()

    def _show_project_menu(self) -> None:
        from segstudio.ui.project.menu import project_menu

        button = self.sender()
        at_rail = button is self.rail
        menu = project_menu(self)
        anchor: QWidget = self.rail.project_button if at_rail else self.top_bar.project_button
        corner = anchor.rect().topRight() if at_rail else anchor.rect().bottomLeft()
        menu.popup(anchor.mapToGlobal(corner))

    # -- events ----------------------------------------------------------------------------------------

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched is self._body and event.type() == QEvent.Type.Resize:
            self._place_drawer()
        return False

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._place_drawer()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        if not paths:
            return
        event.acceptProposedAction()
        self.open(paths[0])

    def closeEvent(self, event: QCloseEvent) -> None:
        for room in self._rooms.values():
            may_close = getattr(room, "may_close", None)
            if may_close is not None and not may_close():
                event.ignore()
                return
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
        services.session.shut_down()
        if services.shelf is not None:
            services.shelf.close()
        if services.worker is not None:
            services.worker.close()
        services.session.reader.close()


def import_formats() -> list[str]:
    """Names of the label formats that can be read."""
    from segstudio.ui.dialogs import formats_offered

    return formats_offered()


def second_opencv() -> UserError | None:
    """A full opencv-python beside us brings a second Qt that can stop the window from starting."""
    found = importlib.util.find_spec("cv2")
    folder = Path(found.origin).parent if found is not None and found.origin else None
    if folder is None or not (folder / "qt").is_dir():
        return None
    return UserError(
        "The package opencv-python brings a Qt of its own, which breaks this window on some systems",
        where=f"in {folder}",
        action="Run: pip uninstall opencv-python && pip install --force-reinstall opencv-python-headless",
    )


def _size_wish() -> tuple[int, int]:
    kept = settings().get("window.size", [1600, 1000])
    try:
        return max(MINIMUM[0], int(kept[0])), max(MINIMUM[1], int(kept[1]))
    except (TypeError, ValueError, IndexError):
        return 1600, 1000
