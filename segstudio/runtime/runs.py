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
from pathlib import Path
from typing import Any, Literal

from PySide6.QtCore import QObject, QTimer, Signal

from segstudio.core.errors import UserError
from segstudio.core.new_run import create_from_project
from segstudio.core.program import child_environment, program_command
from segstudio.core.project import Project
from segstudio.core.recipe import Recipe
from segstudio.core.run_folder import RunFolder, When, find_runs, next_run_name
from segstudio.core.run_lease import is_held, read_lease
from segstudio.runtime.jobs import Job, JobQueue
from segstudio.runtime.model_shelf import ModelShelf
from segstudio.runtime.run_history import RunHistory
from segstudio.runtime.session import ProjectSession

RunState = Literal["queued", "starting", "running", "stopping", "paused", "failed", "done"]

ACTIVE: frozenset[str] = frozenset({"starting", "running", "stopping"})
_LOOK_EVERY_MS = 700
_DETACHED = getattr(subprocess, "DETACHED_PROCESS", 0) | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
_BACKGROUND_NICE = "10"


@dataclass(frozen=True)
class RunView:
    """One line of the runs table: what a run says of itself, judged by whether its process is alive."""

    name: str
    folder: RunFolder
    title: str
    model: str
    state: RunState
    reason: str
    epoch: int
    epochs: int
    step: int
    steps: int
    best: float | None
    best_epoch: int | None
    seconds: float
    images_per_s: float | None
    left_s: float | None
    memory: int
    created: float
    has_best: bool

    @property
    def number(self) -> str:
        """ "7" for run-0007, the whole name for folders that are called otherwise."""
        head, _, number = self.name.partition("-")
        return number.lstrip("0") or "0" if head == "run" and number.isdigit() else self.name

    @property
    def fraction(self) -> float | None:
        return self.step / self.steps if self.steps else None

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE

    @property
    def can_resume(self) -> bool:
        """Whether starting it would go on: it is not at work and not at its end."""
        return not self.is_active and (self.state != "done" or self.epoch < self.epochs)


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


class _RunJob(Job):
    """A job whose rate and time left are the run's own: it may have begun long before this window."""

    def __init__(
        self, title: str, *, on_cancel: Callable[[], None], on_force_stop: Callable[[], None]
    ) -> None:
        super().__init__(title, on_cancel=on_cancel, on_force_stop=on_force_stop)
        self.view: RunView | None = None

    @property
    def rate_text(self) -> str:
        rate = self.view.images_per_s if self.view is not None else None
        return f"{rate:.1f} images/s" if rate else ""

    @property
    def left_text(self) -> str:
        left = self.view.left_s if self.view is not None and self.state == "running" else None
        if left is None:
            return ""
        minutes = round(left / 60)
        if minutes < 2:
            return f"{max(1, round(left))} s left"
        return f"{minutes} min left" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min left"


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
        self._job_of: dict[str, _RunJob] = {}
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
        """Makes a run of everything labelled in `project` and starts it when its turn comes.

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
            return create_from_project(root / name, recipe, project, tell=tell)

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
            watched.view = _judge(watched)
            count = _checkpoint_stamp(watched.folder)
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
        if size == watched.position:
            return False
        events, watched.position = watched.folder.events(watched.position)
        return watched.history.feed(events)

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
                job = _RunJob(
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


def _bound(method: Callable[[str], None], name: str) -> Callable[[], None]:
    return lambda: method(name)


def _judge(watched: _Watched) -> RunView:
    """The run's own state, corrected by what its lease says about its process."""
    folder, recipe = watched.folder, watched.recipe
    document = folder.state()
    lease = read_lease(folder.path)
    alive = lease is not None and is_held(lease)
    state: RunState = document["state"] if document["state"] in _PLAIN else "queued"
    reason = str(document.get("reason", ""))
    if alive:
        watched.launched = 0.0
        state = "stopping" if folder.wish() is not None else "running"
    elif watched.launched and float(document.get("updated", 0)) < watched.launched:
        # The process has not yet taken the run: it is importing, or it fell over before it could say so.
        if watched.process is not None and watched.process.poll() is None:
            state, reason = "starting", ""
        else:
            state, reason = "failed", _last_words(folder)
    elif state == "running":
        state = "paused"
        reason = "The training process ended unexpectedly. Resume goes on from what was saved last."
    best = document.get("best") or {}
    return RunView(
        name=folder.name,
        folder=folder,
        title=recipe.title or recipe.model.rpartition("/")[2],
        model=recipe.model,
        state=state,
        reason=reason,
        epoch=int(document.get("epoch") or 0),
        epochs=recipe.epochs,
        step=int(document.get("step") or 0),
        steps=int(document.get("steps") or 0),
        best=best.get("miou"),
        best_epoch=best.get("epoch"),
        seconds=sum(epoch.seconds for epoch in watched.history.epochs),
        images_per_s=document.get("images_per_s"),
        left_s=document.get("left_s"),
        memory=int(document.get("memory") or 0),
        created=float(document.get("created") or 0.0),
        has_best=(folder.checkpoints / "best.safetensors").exists(),
    )


_PLAIN = ("queued", "running", "paused", "failed", "done")


def _last_words(folder: RunFolder) -> str:
    """What a process that ended at its start printed last."""
    with suppress(OSError):
        lines = (folder.path / "console.txt").read_text("utf-8", errors="replace").split("\n")
        said = [line for line in lines if line.strip()]
        if said:
            return f"The training program ended at its start: {said[-1].strip()}"
    return "The training program ended at its start."


def _checkpoint_stamp(folder: RunFolder) -> int:
    """Changes whenever a file of weights appears or is replaced."""
    stamp = 0
    for name in ("best.safetensors", "last.safetensors"):
        with suppress(OSError):
            stamp += (folder.checkpoints / name).stat().st_mtime_ns
    return stamp
