"""The training runs of the project: found in their folders, started as processes that outlive the window.

A run is reached only through its folder. Closing the window leaves a run at work; opening the project
again finds it there, with everything it told meanwhile.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from PySide6.QtCore import QObject, QTimer, Signal

from segstudio.core.errors import UserError
from segstudio.core.new_run import create_from_project, create_pretraining_from_project
from segstudio.core.program import child_environment, program_command
from segstudio.core.project import Project
from segstudio.core.recipe import Recipe
from segstudio.core.run_folder import RunFolder, When, find_runs, next_run_name
from segstudio.core.run_lease import is_held, read_lease
from segstudio.runtime.jobs import Job, JobQueue
from segstudio.runtime.model_shelf import ModelShelf
from segstudio.runtime.run_history import RunHistory
from segstudio.runtime.run_view import RunJob, RunView, checkpoint_stamp, judge
from segstudio.runtime.session import ProjectSession

_LOOK_EVERY_MS = 700
_MOST_AT_ONCE = 32_768  # bytes of events that are read in the window's thread
_DETACHED = getattr(subprocess, "DETACHED_PROCESS", 0) | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
_BACKGROUND_NICE = "10"


@dataclass
class _Watched:
    """What is remembered of a run between two looks."""

    folder: RunFolder
    recipe: Recipe
    history: RunHistory
    position: int = 0
    stamp: tuple[int, int] = (0, 0)
    view: RunView | None = None
    launched: float = 0.0
    process: subprocess.Popen[bytes] | None = None
    checkpoints: int = -1
    is_read: bool = False  # by the thread, now


class Runs(QObject):
    """The runs in one folder. Looks at them a little more often than once a second."""

    changed = Signal()  # the list, or what the list shows of a run
    history_changed = Signal(str)  # run name
    weights_changed = Signal()  # a checkpoint appeared or was replaced
    created = Signal(str)  # run name
    problem = Signal(object)  # UserError
    _done = Signal(object)

    def __init__(self, jobs: JobQueue | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._jobs = jobs
        self._root: Path | None = None
        self._watched: dict[str, _Watched] = {}
        self._job_of: dict[str, RunJob] = {}
        self._queue: list[str] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="runs")
        self._timer = QTimer(self, interval=_LOOK_EVERY_MS)
        self._timer.timeout.connect(self.look)
        self._done.connect(lambda work: work())

    @property
    def root(self) -> Path | None:
        """The folder that holds the runs."""
        return self._root

    @property
    def views(self) -> tuple[RunView, ...]:
        """Newest first."""
        found = [watched.view for watched in self._watched.values() if watched.view is not None]
        return tuple(sorted(found, key=lambda view: (view.created, view.name), reverse=True))

    @property
    def active(self) -> tuple[RunView, ...]:
        return tuple(view for view in self.views if view.is_active)

    def view(self, name: str) -> RunView | None:
        watched = self._watched.get(name)
        return watched.view if watched is not None else None

    def recipe(self, name: str) -> Recipe:
        """Raises KeyError for a run that is not here."""
        return self._watched[name].recipe

    def history(self, name: str) -> RunHistory:
        """Raises KeyError for a run that is not here."""
        return self._watched[name].history

    def follow(self, session: ProjectSession, shelf: ModelShelf | None) -> None:
        """Watches the runs of whatever project is open, and puts their weights on the shelf."""

        def opened() -> None:
            if session.project is not None:
                root = session.project.home / "runs"
                if shelf is not None:
                    shelf.set_run_folders([root])
                self.open(root)

        session.opened.connect(opened)
        session.closed.connect(self.close)
        if shelf is not None:
            self.weights_changed.connect(shelf.weights_changed)
        opened()

    def open(self, root: Path) -> None:
        """Watches the runs in `root`, which need not exist yet."""
        self.close()
        self._root = root
        self.look()
        self._timer.start()

    def close(self) -> None:
        """Looks no longer; running runs go on."""
        self._timer.stop()
        self._root = None
        self._queue.clear()
        for job in self._job_of.values():
            job.end_cancelled()
        self._job_of.clear()
        if self._watched:
            self._watched.clear()
            self.changed.emit()

    def shut_down(self) -> None:
        self.close()
        self._thread.shutdown(wait=False, cancel_futures=True)

    # -- verbs ---------------------------------------------------------------------------------------

    def create(self, recipe: Recipe, project: Project, *, start: bool = True) -> None:
        """Makes a run of everything labelled in `project`, or of all its images where the recipe pre-trains,
        and starts it when its turn comes.

        `created` or `problem` follows; the labels are copied in a thread.
        """
        root = self._root
        if root is None:
            return
        name = next_run_name(root)
        job = Job(f"Prepare run {int(name.rpartition('-')[2])}", unit="images")
        if self._jobs is not None:
            self._jobs.add(job)

        def tell(fraction: float, text: str) -> None:
            self._done.emit(lambda: job.report(fraction, text))

        def work() -> RunFolder:
            pretrains = recipe.task == "pretraining"
            create = create_pretraining_from_project if pretrains else create_from_project
            return create(root / name, recipe, project, tell=tell)

        def made(future: Future[RunFolder]) -> None:
            error = future.exception()
            if isinstance(error, UserError):
                job.fail(error)
                self.problem.emit(error)
            elif error is not None:
                job.fail(UserError("The run could not be made", details=repr(error)))
                raise error
            else:
                job.finish()
                self.look()
                self.created.emit(name)
                if start:
                    self.start(name)

        self._later(self._thread.submit(work), made)

    def start(self, name: str) -> None:
        """Starts or resumes a run; where another is at work it waits for its turn."""
        view = self.view(name)
        if view is None or view.is_active:
            return
        if any(other.name != name for other in self.active):
            if name not in self._queue:
                self._queue.append(name)
            if view.state != "queued":
                view.folder.write_state(state="queued", reason="waits for the run before it")
            self.look()
            return
        self._launch(self._watched[name])

    def pause(self, name: str, when: When = "now") -> None:
        self._wish(name, "pause", when)

    def stop(self, name: str, when: When = "now") -> None:
        self._wish(name, "stop", when)

    def force_stop(self, name: str) -> None:
        """Ends the process of a run at once; what was saved last stays and the run can go on from there."""
        watched = self._watched[name]
        lease = read_lease(watched.folder.path)
        if lease and lease.get("host") == socket.gethostname() and is_held(lease):
            with suppress(OSError):
                os.kill(int(lease["pid"]), getattr(signal, "SIGKILL", signal.SIGTERM))
        self.look()

    def _wish(self, name: str, wish: Literal["stop", "pause"], when: When) -> None:
        watched = self._watched[name]
        if name in self._queue:
            self._queue.remove(name)
        watched.folder.ask(wish, when)
        self.look()

    def _launch(self, watched: _Watched) -> None:
        folder = watched.folder
        folder.forget_wishes()
        environment = {**child_environment(), "SEGSTUDIO_NICE": _BACKGROUND_NICE}
        launched = time.time()
        try:
            with (folder.path / "console.txt").open("wb") as console:
                # In a session of its own it outlives the window; QProcess would not tell its process id.
                # What a crash prints (a segmentation fault, a killed process) is nowhere but in this file.
                process = subprocess.Popen(
                    program_command("train", str(folder.path)),
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    creationflags=_DETACHED,
                )
        except OSError as error:
            self.problem.emit(
                UserError(
                    "The training program could not be started",
                    where=f"for {folder.name}",
                    details=str(error),
                )
            )
            return
        watched.launched, watched.process = launched, process
        self.look()

    # -- looking -------------------------------------------------------------------------------------

    def look(self) -> None:
        """Reads what changed since the last look."""
        if self._root is None:
            return
        before = {name: watched.view for name, watched in self._watched.items()}
        self._find()
        told = []
        weights = False
        for name, watched in self._watched.items():
            if watched.process is not None and watched.process.poll() is not None and not watched.launched:
                watched.process = None  # ended and taken note of
            if self._read_events(watched):
                told.append(name)
            self._judge(watched)
            count = checkpoint_stamp(watched.folder)
            if count != watched.checkpoints:
                weights = weights or watched.checkpoints != -1 or count != 0
                watched.checkpoints = count
        self._next_in_queue()
        self._follow_jobs()
        if before != {name: watched.view for name, watched in self._watched.items()}:
            self.changed.emit()
        for name in told:
            self.history_changed.emit(name)
        if weights:
            self.weights_changed.emit()

    def _judge(self, watched: _Watched) -> None:
        watched.view, alive = judge(
            watched.folder,
            watched.recipe,
            seconds=sum(epoch.seconds for epoch in watched.history.epochs),
            launched=watched.launched,
            starting=watched.process is not None and watched.process.poll() is None,
        )
        if alive:
            watched.launched = 0.0

    def _find(self) -> None:
        assert self._root is not None
        there = {folder.name: folder for folder in find_runs(self._root)}
        for name in [name for name in self._watched if name not in there]:
            del self._watched[name]
        for name, folder in there.items():
            if name not in self._watched:
                try:
                    self._watched[name] = _Watched(folder, folder.recipe(), RunHistory())
                except UserError:
                    continue  # a folder that is being written, or of a newer version

    def _read_events(self, watched: _Watched) -> bool:
        try:
            size = watched.folder.events_path.stat().st_size
        except OSError:
            return False
        if size < watched.position:
            watched.history, watched.position = RunHistory(), 0
        if size == watched.position or watched.is_read:
            return False
        if size - watched.position > _MOST_AT_ONCE:
            watched.is_read = True
            self._later(
                self._thread.submit(_read_history, watched.folder), partial(self._take_history, watched)
            )
            return False
        events, watched.position = watched.folder.events(watched.position)
        return watched.history.feed(events)

    def _take_history(self, watched: _Watched, future: Future[tuple[RunHistory, int]]) -> None:
        watched.is_read = False
        if self._watched.get(watched.folder.path.name) is not watched:
            return
        watched.history, watched.position = future.result()
        self._judge(watched)
        self.changed.emit()
        self.history_changed.emit(watched.folder.path.name)

    def _next_in_queue(self) -> None:
        while self._queue and not self.active:
            watched = self._watched.get(self._queue.pop(0))
            if watched is not None:
                self._launch(watched)
                return

    def _follow_jobs(self) -> None:
        if self._jobs is None:
            return
        for view in self.views:
            job = self._job_of.get(view.name)
            if view.is_active and job is None:
                job = RunJob(
                    f"Train run {view.number}",
                    on_cancel=_bound(self.stop, view.name),
                    on_force_stop=_bound(self.force_stop, view.name),
                )
                self._jobs.add(job)
                self._job_of[view.name] = job
            if job is None:
                continue
            if view.is_active:
                job.view = view
                job.report(view.fraction, f"{view.title} · epoch {view.epoch + 1} of {view.epochs}")
                continue
            del self._job_of[view.name]
            if view.state == "failed":
                job.fail(UserError(view.reason or "The run failed"))
            elif job.state == "cancelling":
                job.end_cancelled()
            else:
                job.finish()

    def _later(self, future: Future[Any], settle: Callable[[Future[Any]], None]) -> None:
        def arrive(done: Future[Any]) -> None:
            if not done.cancelled():
                self._done.emit(lambda: settle(done))

        future.add_done_callback(arrive)


def _read_history(folder: RunFolder) -> tuple[RunHistory, int]:
    """All events of a run, and where they end."""
    history = RunHistory()
    events, position = folder.events(0)
    history.feed(events)
    return history, position


def _bound(method: Callable[[str], None], name: str) -> Callable[[], None]:
    return lambda: method(name)
