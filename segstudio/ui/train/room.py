"""The Train tab: runs on the left, what the run in front has learned on the right."""

from __future__ import annotations

from collections.abc import Iterator

from PySide6.QtCore import QEvent, QObject, Qt, QTimer, QUrl
from PySide6.QtGui import QDesktopServices, QKeyEvent
from PySide6.QtWidgets import QMessageBox, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from segstudio.runtime.actions import ActionSpec
from segstudio.runtime.dataset_check import Finding
from segstudio.runtime.run_view import RunView
from segstudio.ui.room import Services
from segstudio.ui.train.check_section import CheckSection
from segstudio.ui.train.looking_inside import LookingInside
from segstudio.ui.train.new_run_form import NewRunForm
from segstudio.ui.train.option_bar import TrainBar
from segstudio.ui.train.progress_page import ProgressPage
from segstudio.ui.train.run_comparison import RunComparison
from segstudio.ui.train.run_detail import RunDetail, started_words
from segstudio.ui.train.run_making import RunMaking
from segstudio.ui.train.runs_table import RunsTable
from segstudio.ui.widgets.buttons import push_button
from segstudio.ui.widgets.empty_state import EmptyState
from segstudio.ui.widgets.section import FoldSection

LEFT_WIDTH = 464

ACTIONS = (
    ActionSpec("train.new", "New run…", ("Ctrl+N",), "Models", "Choose a network and start", "plus", "train"),
    ActionSpec("train.check", "Check the dataset again", (), "Models", "", "refresh", "train"),
    ActionSpec("train.play", "Play the validation images", (), "See", "", "play", "train"),
)


class TrainRoom(QObject):
    """One of the four tabs (see `ui.room.Room`)."""

    title = "Train"
    icon = "train"
    key = "Alt+4"
    shows_filmstrip = False  # runs are about the whole data set: its height goes to the curves

    def __init__(self, services: Services) -> None:
        super().__init__(services.session)
        self._services = services
        self._session = services.session
        self._shelf = services.shelf
        self._runs = services.runs
        self._soon = QTimer(self, singleShot=True, interval=0)  # after the tab was shown as it is
        self._soon.timeout.connect(self._follow_runs)
        self._is_front = False
        self._is_behind = True
        self._split = QSplitter(Qt.Orientation.Horizontal)
        self._split.setHandleWidth(1)
        self._split.setChildrenCollapsible(False)

    # ------------------------------------------------------------------ Room

    def widget(self) -> QWidget:
        return self._split

    def option_bar(self) -> QWidget:
        return self.bar

    def activated(self) -> None:
        self._is_front = True
        self._runs.look()
        if self._is_behind:
            self._soon.start()
        if self._runs.views:
            self.table.setFocus(Qt.FocusReason.OtherFocusReason)
        self.making.refresh()
        self.inside.resume()
        QTimer.singleShot(0, self.check, self.check.check_if_stale)  # this turn brings the room in

    def deactivated(self) -> None:
        self._is_front = False
        self.progress.stop()
        self.inside.rest()

    def status_hint(self) -> str:
        if self.inside.is_front:
            return self.inside.hint
        if self._right.currentWidget() is not self.progress:
            return "[Esc] goes back without a run"
        if not self._runs.views:
            return "[Ctrl+N] starts a run on the labels of this project"
        return "Drag the scrubber to watch it learn · [Space] plays · runs go on when the window is closed"

    def may_close(self) -> bool:
        """Asks what becomes of runs at work; the first answer is to let them go on."""
        active = self._runs.active
        if not active:
            return True
        which = f"Run {active[0].number}" if len(active) == 1 else f"{len(active)} runs"
        box = QMessageBox(self._split.window())
        box.setIcon(QMessageBox.Icon.Question)
        box.setWindowTitle("Training goes on")
        box.setText(f"{which} can go on without the window.")
        box.setInformativeText("Open the project again to see how far it got.")
        keep = box.addButton("Keep training", QMessageBox.ButtonRole.AcceptRole)
        pause = box.addButton("Pause it", QMessageBox.ButtonRole.DestructiveRole)
        box.addButton("Cancel", QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(keep)
        box.exec()
        if box.clickedButton() is pause:
            for view in active:
                self._runs.pause(view.name)
            return True
        return box.clickedButton() is keep

    def shut_down(self) -> None:
        self.progress.stop()
        self.inside.rest()
        self.check.shut_down()

    # ------------------------------------------------------------------ building

    def parts(self) -> Iterator[None]:
        left = QWidget()
        left.setMinimumWidth(380)
        column = QVBoxLayout(left)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        self._split.addWidget(left)
        self._right = QStackedWidget()
        self._split.addWidget(self._right)
        self._split.setStretchFactor(1, 1)
        self._split.setSizes([LEFT_WIDTH, 4000])
        self._split.installEventFilter(self)
        yield
        self._build_table()
        column.addWidget(self._table_section, 3)
        yield
        self._build_empty()
        yield
        self._detail_section = FoldSection("Run", key="train.detail")
        column.addWidget(self._detail_section)
        self.detail = RunDetail()
        self._detail_section.set_body(self.detail)
        yield
        self.check = CheckSection(self._session)
        column.addWidget(self.check, 2)
        yield
        self.progress = ProgressPage()
        self._right.addWidget(self.progress)
        yield from self.progress.parts()
        yield
        self.making = RunMaking(self._services, self.check, self._right)
        self.inside = LookingInside(self._services, self._right)
        self.bar = TrainBar()
        yield
        self._connect()
        self._bind()
        if self._runs.views:
            yield from self.progress.charts.surfaces()
            yield
        self._show_runs()

    def _build_table(self) -> None:
        self.table = RunsTable(self._runs)
        self.comparison = RunComparison(self._runs)
        self._table_section = FoldSection("Runs")
        self._new = push_button("New run", kind="primary", tall=24, icon_name="plus")
        self._new.setToolTip("New run  Ctrl+N")
        self._table_section.add_action(self.comparison.button)
        self._table_section.add_action(self._new)
        self._table_stack = QStackedWidget()
        self._table_stack.addWidget(self.table)
        self._table_stack.setMinimumHeight(144)
        self._table_section.set_body(self._table_stack, stretch=True)

    def _build_empty(self) -> None:
        self._empty = EmptyState(
            "train",
            "Your training runs will appear here",
            "A run learns from the labels of this project, or from its pictures alone, in a process of its "
            "own: it goes on while you annotate, and when the window is closed.",
            button="New run",
            keys="Ctrl+N",
        )
        self._table_stack.addWidget(self._empty)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        # No shortcut: Space must still press a button that has the focus. What nobody used arrives here.
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            scrubber = self.progress.panel.scrubber
            if event.key() == Qt.Key.Key_Space and scrubber.isVisible() and scrubber.isEnabled():
                scrubber.toggle()
                return True
        return super().eventFilter(watched, event)

    def _connect(self) -> None:
        self._runs.changed.connect(self._follow_runs)
        self._runs.history_changed.connect(self._history_changed)
        self._runs.created.connect(self._created)
        self._runs.problem.connect(self._services.status.error)
        self._session.opened.connect(self._project_changed)
        self._session.classes_changed.connect(self._data_changed)
        self._session.history_changed.connect(self._data_changed)
        self.making.closed.connect(self._close_form)
        self.inside.closed.connect(self._close_form)
        if self._shelf is not None:
            self._shelf.changed.connect(self._follow_runs)
        self.table.chosen.connect(self._show_run)
        self.comparison.changed.connect(lambda: self._show_run(self.table.current))
        self._new.clicked.connect(self.new_run)
        self._empty.clicked.connect(self.new_run)
        self.check.fix_wanted.connect(self._fix)
        self.check.problem.connect(self._services.status.error)
        self.detail.pause_wanted.connect(lambda: self._runs.pause(self.table.current))
        self.detail.stop_wanted.connect(self._stop)
        self.detail.start_wanted.connect(lambda: self._runs.start(self.table.current))
        self.detail.clone_wanted.connect(self._clone)
        self.detail.compare_wanted.connect(self._compare)
        self.detail.inside_wanted.connect(self._look_inside)
        self.detail.segmentation_wanted.connect(self._start_segmentation)
        self.detail.folder_wanted.connect(self._open_folder)
        self.bar.quantity_changed.connect(self.progress.charts.set_quantity)
        self.bar.smooth_changed.connect(self.progress.charts.set_smooth)
        self.bar.compare_wanted.connect(self._compare)

    def _bind(self) -> None:
        table = self._services.actions
        table.add(ACTIONS)
        table.bind("train.new", self.new_run)
        table.bind("train.check", self.check.check)
        table.bind("train.play", self.progress.panel.scrubber.toggle)

    # ------------------------------------------------------------------ runs

    def _follow_runs(self) -> None:
        self._is_behind = not self._is_front
        if self._is_front:  # else it is seen by nobody: entering the tab catches up
            self._show_runs()

    def _show_runs(self) -> None:
        self._is_behind = False
        views = self._runs.views
        self._table_section.set_count(str(len(views)) if views else "")
        self._table_stack.setCurrentWidget(self.table if views else self._empty)
        self._new.setVisible(bool(views))
        if views and self._runs.view(self.table.current) is None:
            front = next((view for view in views if view.is_active), views[0])
            self.table.choose(front.name)
            return
        self._show_run(self.table.current)

    def _show_run(self, name: str) -> None:
        view = self._runs.view(name)
        self._detail_section.setVisible(view is not None)
        other = self.comparison.show_front(name)
        if view is None:
            self.progress.show_nothing()
            self.bar.show_run(None)
            return
        recipe, history = self._runs.recipe(name), self._runs.history(name)
        self._detail_section.set_count(f"{view.number} · {started_words(view)}")
        goes_on = bool(self._backbones_of(view))
        self.detail.show_run(view, recipe, list(history.parts), can_go_on=goes_on)
        self.progress.show_run(view, recipe, history, other)
        self.bar.show_run(view)
        self.inside.follow(view, recipe)
        if not self._right.currentWidget().isVisible():
            self._right.setCurrentWidget(self.progress)

    def _history_changed(self, name: str) -> None:
        if not self._is_front:
            self._is_behind = True
        elif name in (self.table.current, self.comparison.chosen):
            self._show_run(self.table.current)

    def _created(self, name: str) -> None:
        self.table.choose(name)
        self._close_form()

    def _stop(self, when: str) -> None:
        self._runs.stop(self.table.current, "epoch" if when == "epoch" else "now")

    def _open_folder(self) -> None:
        view = self._runs.view(self.table.current)
        if view is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(view.folder.path)))

    def _compare(self) -> None:
        """Shows the best weights of the run in front beside the other models."""
        key = f"run:{self.table.current}/best"
        runnable = (
            next((one for one in self._shelf.runnable if one.key == key), None) if self._shelf else None
        )
        if runnable is None:
            self._services.status.notice.emit("The weights of this run are not listed yet", "", None)
            return
        self._services.status.compare_wanted.emit(runnable)

    # ------------------------------------------------------------------ new run

    @property
    def form(self) -> NewRunForm:
        return self.making.form

    def new_run(self) -> None:
        """Shows the form; the runs stay in view beside it."""
        self.making.show()

    def new_run_of(self, model: str) -> None:
        """Shows the form with this network chosen."""
        self.new_run()
        self.form.choose(model)

    def _close_form(self) -> None:
        self._right.setCurrentWidget(self.progress)
        self._services.status.hint_changed.emit(self.status_hint())

    def _clone(self) -> None:
        name = self.table.current
        if self._runs.view(name) is not None:
            self.new_run()
            self.form.show_recipe(self._runs.recipe(name))

    def _look_inside(self) -> None:
        view = self.run_in_front
        if view is not None:
            self.inside.show(view, self._runs.recipe(view.name))

    def _start_segmentation(self) -> None:
        """A run for masks whose backbone begins with what the run in front learned without them."""
        view = self.run_in_front
        if view is not None:
            self.new_run()
            self.form.start_from(str(view.folder.checkpoints / "best.safetensors"), self._backbones_of(view))

    def _backbones_of(self, view: RunView) -> tuple[str, ...]:
        """What can begin with the weights of a pre-training run."""
        known = self._shelf.pretraining if self._shelf is not None and view.is_pretraining else ()
        return next((spec.backbones for spec in known if spec.id == view.model), ())

    # ------------------------------------------------------------------ dataset check

    def _project_changed(self) -> None:
        self.check.forget()
        self.comparison.choose("")
        self.table.choose("")
        self._close_form()
        self._data_changed()

    def _data_changed(self) -> None:
        self.check.mark_stale()
        if self._is_front:
            self.check.check()

    def _fix(self, finding: Finding) -> None:
        if finding.fix == "class_weights":
            self.new_run()
            self.form.fields.use_class_weights()
            return
        for image_id in finding.images:
            self._session.set_split(image_id, "val")
        self._session.saving.flush()
        self.check.check()

    @property
    def run_in_front(self) -> RunView | None:
        return self._runs.view(self.table.current)
