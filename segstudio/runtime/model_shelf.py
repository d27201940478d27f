"""Which models there are, and which of them can run now: specs of all plugins, weights on this computer.

The window never imports a plugin. Specs come from a cache keyed by version and fingerprint, or from a
short process `segstudio worker --list NAME` with a time limit.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment, QTimer, Signal

from segstudio.core import atomic_file
from segstudio.core.downloaded_weights import downloaded, safetensors_copy
from segstudio.core.errors import UserError
from segstudio.core.plugin_sources import PluginSource, find_sources, give_consent
from segstudio.core.program import child_environment, program_command
from segstudio.core.resources import resource
from segstudio.core.settings import Settings, cache_folder
from segstudio.core.taxonomies import load_taxonomy, taxonomy_names
from segstudio.core.weights_facts import WeightsFacts, read_facts
from segstudio.plugin_api import Checkpoint, ModelSpec, Plugin, plugin_from_json

LISTING_SECONDS = 10
PATIENT_SECONDS = 60
"""A second try lasts longer: a computer that is busy or starts cold is no broken plugin."""
_MEMORY_LIMIT = 4 * 2**30
_CACHE_VERSION = 1
_LISTERS = 2

Origin = Literal["demo", "checkpoint", "run", "file", "plugin"]


@dataclass(frozen=True)
class RunnableModel:
    """A model with its weights, ready to run. `ref` is what requests to the worker take as `model`."""

    key: str
    title: str
    ref: dict[str, Any] = field(hash=False)
    class_names: tuple[str, ...]
    class_colors: tuple[tuple[int, int, int], ...]
    origin: Origin


class ModelShelf(QObject):
    """Reads what is cached at once, lists the rest in the background, and says when something changed."""

    changed = Signal()
    problem = Signal(object)  # UserError, one for each plugin that could not be listed
    consent_needed = Signal(object)  # PluginSource: a file in the plugin folder that nobody agreed to yet
    _found = Signal(object)

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
        self._runs: tuple[Path, ...] = ()
        self._runnable: tuple[RunnableModel, ...] | None = None
        self._precision = "float32"
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="plugin-sources")
        self._found.connect(self._take_sources)
        self.problems: dict[str, UserError] = {}
        self.unapproved: tuple[PluginSource, ...] = ()

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        return tuple(self._plugins[name] for name in self._order if name in self._plugins)

    @property
    def specs(self) -> tuple[ModelSpec, ...]:
        return tuple(spec for plugin in self.plugins for spec in plugin.models)

    @property
    def plugin_files(self) -> tuple[Path, ...]:
        """Plugin files that were named on the command line; a training run needs to know them."""
        return self._plugin_files

    @property
    def is_listing(self) -> bool:
        return bool(self._waiting or self._listing)

    @property
    def runnable(self) -> tuple[RunnableModel, ...]:
        """Demo checkpoints first, then finished runs, files opened by hand, checkpoints, plain plugins."""
        if self._runnable is None:
            self._runnable = tuple(self._find_runnable())
            if self._precision != "float32":
                for each in self._runnable:
                    each.ref["precision"] = self._precision
        return self._runnable

    @property
    def precision(self) -> str:
        return self._precision

    def use_precision(self, precision: str) -> None:
        """From now on models run in "float32" or "bfloat16"; results of the other are others' results."""
        if precision != self._precision:
            self._precision = precision
            self.weights_changed()

    def find(self, model_id: str) -> ModelSpec | None:
        for spec in self.specs:
            if spec.id == model_id:
                return spec
        return None

    def refresh(self) -> None:
        """Looks for plugins again. Gives back at once; `changed` follows."""

        def tell(future: Future[tuple[PluginSource, ...]]) -> None:
            self._found.emit(future.result())

        self._thread.submit(find_sources, self._plugin_files).add_done_callback(tell)

    def allow(self, source: PluginSource) -> None:
        """The person agreed to run this file; it is listed next."""
        give_consent(source.key, Path(source.location))
        self.refresh()

    def set_run_folders(self, folders: Iterable[Path]) -> None:
        """Where finished training runs are looked for: every folder in these with checkpoints in it."""
        self._runs = tuple(folders)
        self.weights_changed()

    def add_file(self, path: Path, ref: dict[str, Any], title: str = "") -> None:
        """Remembers weights that the person opened by hand, with the model they were identified as."""
        entry = {"path": str(path), "ref": json.dumps(ref), "title": title}
        others = [known for known in self._opened() if known.get("path") != str(path)]
        if self._settings is not None:
            self._settings.set("models.files", [*others, entry])
        self.weights_changed()

    def forget_file(self, path: Path) -> None:
        """Takes weights that were opened by hand off the list; the file stays where it is."""
        if self._settings is not None:
            kept = [known for known in self._opened() if known.get("path") != str(path)]
            self._settings.set("models.files", kept)
        self.weights_changed()

    def weights_changed(self) -> None:
        """Weights appeared or went, such as the checkpoint of a run."""
        self._runnable = None
        self.changed.emit()

    def close(self) -> None:
        self._waiting.clear()
        self._thread.shutdown(wait=False, cancel_futures=True)
        _end_all(self._listing)

    # -- listing -------------------------------------------------------------------------------------

    def _take_sources(self, sources: tuple[PluginSource, ...]) -> None:
        self._order = tuple(source.name for source in sources)
        self._plugins = {name: plugin for name, plugin in self._plugins.items() if name in self._order}
        self.unapproved = tuple(source for source in sources if not source.allowed)
        for source in sources:
            if not source.allowed:
                self.consent_needed.emit(source)
                continue
            plugin = _read_cache(source)
            if plugin is not None:
                self._plugins[source.name] = plugin
            elif source.name not in self._listing and source not in self._waiting:
                self._waiting.append(source)
        self.weights_changed()
        self._list_next()

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
        try:
            plugin = _plugin_of(output, source, errors, seconds)
        except UserError as error:
            self.problems[source.name] = error
            self.problem.emit(error)
        else:
            self.problems.pop(source.name, None)
            self._plugins[source.name] = plugin
            _write_cache(source, output)
        self.weights_changed()
        self._list_next()

    # -- runnable ------------------------------------------------------------------------------------

    def _find_runnable(self) -> Iterable[RunnableModel]:
        for path in sorted(resource("demo", "checkpoints").glob("*.safetensors")):
            yield from self._of_file(path, "demo", f"demo:{path.stem}")
        for root in self._runs:
            for path in sorted(root.glob("*/checkpoints/*.safetensors")):
                yield from self._of_file(path, "run", f"run:{path.parents[1].name}/{path.stem}")
        for entry in self._opened():
            path, ref = Path(str(entry.get("path", ""))), json.loads(str(entry.get("ref", "{}")))
            if path.is_file() and self.find(str(ref.get("model", ""))) is not None:
                title = str(entry.get("title", "")) or path.stem
                facts = _known_classes(_facts(path), str(ref.get("taxonomy", "")), ref.get("num_classes"))
                yield _runnable(f"file:{path}", title, ref, facts, "file")
        for plugin in self.plugins:
            for spec in plugin.models:
                yield from _of_spec(plugin, spec)

    def _of_file(self, path: Path, origin: Origin, key: str) -> Iterable[RunnableModel]:
        facts = _facts(path)
        spec = self.find(facts.model)
        if spec is None:
            return
        ref = _ref(spec.id, weights=str(path), num_classes=facts.num_classes, options=dict(facts.options))
        title = facts.title or (spec.title if origin == "demo" else f"{path.parents[1].name} ({path.stem})")
        yield _runnable(key, title, ref, facts, origin)

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


def _of_spec(plugin: Plugin, spec: ModelSpec) -> Iterable[RunnableModel]:
    """The spec's checkpoints on this computer; a plugin without `load` brings its own weights."""
    if spec.unavailable:
        return
    here = [
        (checkpoint, path) for checkpoint in spec.checkpoints if (path := _file_of(checkpoint)) is not None
    ]
    names = [checkpoint.dataset for checkpoint, _ in here]
    for checkpoint, path in here:
        ref = _ref(spec.id, checkpoint=checkpoint.id, num_classes=checkpoint.num_classes)
        title = " · ".join(filter(None, (spec.title, checkpoint.dataset)))
        if names.count(checkpoint.dataset) > 1 and checkpoint.crop is not None:
            title += f" {checkpoint.crop[1]} × {checkpoint.crop[0]}"
        facts = _known_classes(_facts(path), checkpoint.taxonomy, checkpoint.num_classes)
        yield _runnable(f"{spec.id}@{checkpoint.id}", title, ref, facts, "checkpoint")
    if not plugin.load and not spec.trainable:
        yield _runnable(spec.id, spec.title, _ref(spec.id), WeightsFacts(), "plugin")


def _file_of(checkpoint: Checkpoint) -> Path | None:
    """Bundled, or fetched earlier; of a fetched one the copy that knows its classes, where there is one."""
    if checkpoint.path and Path(checkpoint.path).is_file():
        return Path(checkpoint.path)
    path = downloaded(checkpoint) if checkpoint.url else None
    if path is None:
        return None
    copy = safetensors_copy(path)
    return copy if copy.is_file() else path


def _known_classes(facts: WeightsFacts, taxonomy: str, number: int | None) -> WeightsFacts:
    """The facts with the classes of a data set, where they name none and the number is right."""
    if facts.classes or taxonomy not in taxonomy_names():
        return facts  # a plugin may name a data set of its own
    classes = load_taxonomy(taxonomy).classes
    return replace(facts, classes=classes) if number in (None, len(classes)) else facts


def _ref(
    model: str,
    *,
    weights: str | None = None,
    checkpoint: str | None = None,
    num_classes: int | None = None,
    options: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "model": model,
        "weights": weights,
        "checkpoint": checkpoint,
        "num_classes": num_classes,
        "options": options or {},
        "switches": {},
    }


def _runnable(
    key: str, title: str, ref: dict[str, Any], facts: WeightsFacts, origin: Origin
) -> RunnableModel:
    names = tuple(entry.name for entry in facts.classes)
    colors = tuple(entry.color for entry in facts.classes)
    return RunnableModel(key, title, ref, names, colors, origin)


def _facts(path: Path) -> WeightsFacts:
    try:
        return read_facts(path)
    except UserError:
        return WeightsFacts()  # the worker says what is wrong when the file is used


def _plugin_of(output: bytes, source: PluginSource, errors: str, seconds: float) -> Plugin:
    try:
        document = json.loads(output)
        if "error" in document:
            raise UserError.from_json(document["error"])
        return plugin_from_json(document["plugin"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"Plugin {source.name} did not say within {seconds:.0f} seconds which models it has",
            action="Everything else goes on without it",
            details=errors or str(error),
        ) from error


def _cache_path(source: PluginSource) -> Path:
    folder = cache_folder() / "plugins"
    folder.mkdir(exist_ok=True)
    return folder / f"{source.name}.json"


def _read_cache(source: PluginSource) -> Plugin | None:
    try:
        document = json.loads(_cache_path(source).read_bytes())
        if (document["version"], document["key"]) == (_CACHE_VERSION, source.key):
            return plugin_from_json(document["plugin"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return None


def _write_cache(source: PluginSource, output: bytes) -> None:
    document = {"version": _CACHE_VERSION, "key": source.key, "plugin": json.loads(output)["plugin"]}
    try:
        atomic_file.write_bytes(_cache_path(source), json.dumps(document).encode("utf-8", "surrogatepass"))
    except OSError:
        return  # a full disk costs the next start a listing, nothing else
