"""Which models there are, and which of them can run now: specs of all plugins, weights on this computer.

The window never imports a plugin. Specs come from a cache keyed by version and fingerprint, or from a
short process `segstudio worker --list NAME` with a time limit. All reading happens on one thread.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment, QTimer, Signal

from segstudio.core.errors import UserError
from segstudio.core.plugin_sources import PluginSource, find_sources, give_consent
from segstudio.core.program import child_environment, program_command
from segstudio.core.settings import Settings
from segstudio.plugin_api import ModelSpec, Plugin, PretrainingSpec
from segstudio.runtime.plugin_listing import kept_plugin, listed_plugin
from segstudio.runtime.runnable_models import RunnableModel, find_runnable

LISTING_SECONDS = 10
PATIENT_SECONDS = 60
"""A second try lasts longer: a computer that is busy or starts cold is no broken plugin."""
_MEMORY_LIMIT = 4 * 2**30
_LISTERS = 2

T = TypeVar("T")


class ModelShelf(QObject):
    """Knows what was read last, reads and lists in the background, and says when something changed."""

    changed = Signal()
    problem = Signal(object)  # UserError, one for each plugin that could not be listed
    consent_needed = Signal(object)  # PluginSource: a file in the plugin folder that nobody agreed to yet
    _done = Signal(object)  # what a thread read: taken in the window's thread

    def __init__(
        self,
        *,
        plugin_files: Sequence[Path] = (),
        settings: Settings | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._plugin_files = tuple(plugin_files)
        self._settings = settings
        self._plugins: dict[str, Plugin] = {}
        self._order: tuple[str, ...] = ()
        self._waiting: list[PluginSource] = []
        self._listing: dict[str, QProcess] = {}
        # Where nobody closed it: its processes would tell a shelf that is half gone that they ended.
        self.destroyed.connect(partial(_end_all, self._listing))
        self._specs: tuple[ModelSpec, ...] = ()
        self._spec_of: dict[str, ModelSpec] = {}
        self._runs: tuple[Path, ...] = ()
        self._runnable: tuple[RunnableModel, ...] = ()
        self._look_waits = False
        self._afterwards: list[Callable[[], None]] = []
        self._reading = 0
        self._is_closed = False
        self._precision = "float32"
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model-shelf")
        self._done.connect(lambda work: work())
        self.problems: dict[str, UserError] = {}
        self.unapproved: tuple[PluginSource, ...] = ()

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        return tuple(self._plugins[name] for name in self._order if name in self._plugins)

    @property
    def specs(self) -> tuple[ModelSpec, ...]:
        return self._specs

    @property
    def pretraining(self) -> tuple[PretrainingSpec, ...]:
        """Ways of training without labels, of all plugins listed."""
        return tuple(spec for plugin in self.plugins for spec in plugin.pretraining)

    @property
    def plugin_files(self) -> tuple[Path, ...]:
        """Plugin files that were named on the command line; a training run needs to know them."""
        return self._plugin_files

    @property
    def is_listing(self) -> bool:
        """Whether more may become known without anybody doing anything."""
        return bool(self._waiting or self._listing or self._reading)

    @property
    def runnable(self) -> tuple[RunnableModel, ...]:
        """Demo checkpoints first, then finished runs, files opened by hand, checkpoints, plain plugins.

        As of the last `changed`.
        """
        return self._runnable

    @property
    def precision(self) -> str:
        return self._precision

    def use_precision(self, precision: str) -> None:
        """From now on models run in "float32" or "bfloat16"; results of the other are others' results."""
        if precision != self._precision:
            self._precision = precision
            self._show_runnable(self._runnable)

    def find(self, model_id: str) -> ModelSpec | None:
        return self._spec_of.get(model_id)

    def refresh(self) -> None:
        """Looks for plugins again. Gives back at once; `changed` follows."""

        def find() -> tuple[tuple[PluginSource, ...], dict[str, Plugin]]:
            sources = find_sources(self._plugin_files)
            kept = {source.name: kept_plugin(source) for source in sources if source.allowed}
            return sources, {name: plugin for name, plugin in kept.items() if plugin is not None}

        self._read(find, lambda future: self._take_sources(*future.result()))

    def allow(self, source: PluginSource) -> None:
        """The person agreed to run this file; it is listed next."""
        give_consent(source.key, Path(source.location))
        self.refresh()

    def set_run_folders(self, folders: Iterable[Path]) -> None:
        """Where finished training runs are looked for: every folder in these with checkpoints in it."""
        self._runs = tuple(folders)
        self.weights_changed()

    def add_file(
        self, path: Path, ref: dict[str, Any], title: str = "", *, then: Callable[[], None] | None = None
    ) -> None:
        """Remembers weights that the person opened by hand, with the model they were identified as.

        `then` is called when the shelf knows them.
        """
        entry = {"path": str(path), "ref": json.dumps(ref), "title": title}
        others = [known for known in self._opened() if known.get("path") != str(path)]
        if self._settings is not None:
            self._settings.set("models.files", [*others, entry])
        self.weights_changed(then)

    def forget_file(self, path: Path) -> None:
        """Takes weights that were opened by hand off the list; the file stays where it is."""
        if self._settings is not None:
            kept = [known for known in self._opened() if known.get("path") != str(path)]
            self._settings.set("models.files", kept)
        self.weights_changed()

    def weights_changed(self, then: Callable[[], None] | None = None) -> None:
        """Weights appeared or went, such as the checkpoint of a run: looks again.

        Gives back at once; `changed` follows, and after it `then` is called.
        """
        if then is not None:
            self._afterwards.append(then)
        if self._look_waits:
            return  # it has not begun, and will see this as well
        self._look_waits = True
        self._read(self._look, lambda future: self._take_look(*future.result()))

    def close(self) -> None:
        """Ends all processes; nothing is told any more."""
        self._is_closed = True
        self._waiting.clear()
        self._thread.shutdown(wait=False, cancel_futures=True)
        _end_all(self._listing)

    # -- on the thread -------------------------------------------------------------------------------

    def _read(self, read: Callable[[], T], take: Callable[[Future[T]], None]) -> None:
        """Calls `read` on the thread, then `take` here with what became of it."""

        def taken(future: Future[T]) -> None:
            self._reading -= 1
            if not self._is_closed:
                take(future)

        def tell(future: Future[T]) -> None:
            if not future.cancelled():
                with contextlib.suppress(RuntimeError):  # the shelf may be gone before it was read
                    self._done.emit(lambda: taken(future))

        if self._is_closed:
            return
        self._reading += 1
        self._thread.submit(read).add_done_callback(tell)

    def _look(self) -> tuple[tuple[RunnableModel, ...], list[Callable[[], None]]]:
        self._look_waits = False
        afterwards, self._afterwards = self._afterwards, []
        return tuple(find_runnable(self.plugins, self._runs, self._opened())), afterwards

    def _take_look(
        self, runnable: tuple[RunnableModel, ...], afterwards: Iterable[Callable[[], None]]
    ) -> None:
        self._show_runnable(runnable)
        for then in afterwards:
            then()

    def _show_runnable(self, runnable: tuple[RunnableModel, ...]) -> None:
        chosen = {} if self._precision == "float32" else {"precision": self._precision}
        self._runnable = tuple(
            replace(each, ref={name: each.ref[name] for name in each.ref if name != "precision"} | chosen)
            for each in runnable
        )
        self.changed.emit()

    # -- listing -------------------------------------------------------------------------------------

    def _take_sources(self, sources: tuple[PluginSource, ...], kept: dict[str, Plugin]) -> None:
        self._order = tuple(source.name for source in sources)
        self._plugins = {name: plugin for name, plugin in self._plugins.items() if name in self._order}
        self.unapproved = tuple(source for source in sources if not source.allowed)
        for source in sources:
            if not source.allowed:
                self.consent_needed.emit(source)
                continue
            plugin = kept.get(source.name)
            if plugin is not None:
                self._plugins[source.name] = plugin
            elif source.name not in self._listing and source not in self._waiting:
                self._waiting.append(source)
        self._plugins_changed()
        self._list_next()

    def _plugins_changed(self) -> None:
        self._specs = tuple(spec for plugin in self.plugins for spec in plugin.models)
        self._spec_of = {spec.id: spec for spec in self._specs}
        self.weights_changed()

    def _list_next(self) -> None:
        while self._waiting and len(self._listing) < _LISTERS:
            self._list(self._waiting.pop(0))

    def _list(self, source: PluginSource, seconds: float | None = None) -> None:
        seconds = LISTING_SECONDS if seconds is None else seconds
        arguments = ["worker", "--list", source.name, "--memory-limit", str(_MEMORY_LIMIT)]
        for file in self._plugin_files:
            arguments += ["--plugin", str(file)]
        program, *rest = program_command(*arguments)
        environment = QProcessEnvironment()
        for name, value in child_environment().items():
            environment.insert(name, value)
        environment.insert("PYTHONSAFEPATH", "1")
        process = QProcess(self)
        process.setProcessEnvironment(environment)
        process.finished.connect(lambda *_: self._listed(source, process, seconds))
        process.errorOccurred.connect(lambda _error: self._failed_to_start(source, process))
        limit = QTimer(process, singleShot=True, interval=round(seconds * 1000))
        limit.timeout.connect(lambda: self._end_slow(source, process, seconds))
        limit.start()
        self._listing[source.name] = process
        process.start(program, rest)

    def _failed_to_start(self, source: PluginSource, process: QProcess) -> None:
        if process.error() == QProcess.ProcessError.FailedToStart:
            self._listed(source, process)

    def _end_slow(self, source: PluginSource, process: QProcess, seconds: float) -> None:
        """Ends a process that took too long; the first time the plugin gets a second, longer try."""
        if seconds >= PATIENT_SECONDS or self._listing.get(source.name) is not process:
            process.kill()
            return
        del self._listing[source.name]
        process.blockSignals(True)
        process.kill()
        process.waitForFinished(500)
        process.deleteLater()
        self._list(source, PATIENT_SECONDS)

    def _listed(self, source: PluginSource, process: QProcess, seconds: float = LISTING_SECONDS) -> None:
        if self._listing.pop(source.name, None) is None:
            return
        output = bytes(process.readAllStandardOutput().data())
        errors = bytes(process.readAllStandardError().data()).decode("utf-8", "replace")
        process.deleteLater()
        self._read(
            lambda: listed_plugin(output, source, errors, seconds), lambda future: self._take(source, future)
        )
        self._list_next()

    def _take(self, source: PluginSource, future: Future[Plugin]) -> None:
        try:
            plugin = future.result()
        except UserError as error:
            self.problems[source.name] = error
            self.problem.emit(error)
        else:
            self.problems.pop(source.name, None)
            self._plugins[source.name] = plugin
        self._plugins_changed()

    def _opened(self) -> list[dict[str, Any]]:
        entries = self._settings.get("models.files", []) if self._settings is not None else []
        return [entry for entry in entries if isinstance(entry, dict)]


def _end_all(listing: dict[str, QProcess], *_: object) -> None:
    """Ends the processes without a word to anybody."""
    for process in listing.values():
        process.blockSignals(True)
        process.kill()
        process.waitForFinished(500)
    listing.clear()
