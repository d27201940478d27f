"""Plugins as running code: entry points and files become `Plugin` objects, strings become functions.

Imported by the worker, by training and by the command line, never by the window.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import sys
import traceback
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from segstudio.core.errors import UserError
from segstudio.core.plugin_sources import (
    GROUP,
    PluginSource,
    file_digest,
    file_source,
    find_sources,
    has_consent,
)
from segstudio.plugin_api import ModelSpec, Plugin, PretrainingSpec, plugin_from_json, plugin_to_json

_Spec = TypeVar("_Spec", ModelSpec, PretrainingSpec)
_MODEL = "model"


class Registry:
    """Finds models by name and resolves their functions. Plugins are imported when they are first needed.

    `given` are plugins that the caller imported by itself; they come before all others.
    """

    def __init__(self, plugin_files: Sequence[Path] = (), *, given: Sequence[Plugin] = ()) -> None:
        self._plugin_files = tuple(Path(file) for file in plugin_files)
        self._given = tuple(given)
        self._plugins: dict[str, Plugin] = {}
        self._modules: dict[str, types.ModuleType] = {}
        self._keys: dict[str, str] = {}
        self.problems: dict[str, UserError] = {}

    def sources(self) -> tuple[PluginSource, ...]:
        return find_sources(self._plugin_files)

    def plugins(self) -> tuple[Plugin, ...]:
        """All plugins that load. What the others said is in `problems` by name."""
        found = list(self._given)
        for source in self.sources():
            if source.name in [plugin.name for plugin in self._given]:
                continue
            try:
                found.append(self.plugin(source))
            except UserError as error:
                self.problems[source.name] = error
        return tuple(found)

    def plugin(self, source: PluginSource) -> Plugin:
        """The plugin of one source. Raises UserError where it does not load or its facts do not fit."""
        loaded = self._plugins.get(source.name)
        if loaded is not None and self._keys[source.name] == source.key:
            return loaded
        if source.kind == "package":
            plugin = _from_entry_point(source)
        else:
            plugin, module = _from_file(source)
            self._modules[plugin.name] = module
        self._plugins[source.name] = plugin
        self._keys[source.name] = source.key
        self.problems.pop(source.name, None)
        return plugin

    def find(self, name: str) -> tuple[Plugin, ModelSpec]:
        """The model of a full id ("plugin/model"), or of its last part where that is unique.

        Case, "-" and "_" are equal. Raises UserError naming the nearest models.
        """
        return self._find(name, lambda plugin: plugin.models, _MODEL, "`segstudio models` lists them")

    def find_pretraining(self, name: str) -> tuple[Plugin, PretrainingSpec]:
        """The way of pre-training of a full id or its last part, as `find` does for models."""
        return self._find(
            name,
            lambda plugin: plugin.pretraining,
            "way of pre-training",
            "`segstudio models --pretraining` lists them",
        )

    def _find(
        self, name: str, specs_of: Callable[[Plugin], Sequence[_Spec]], kind: str, action: str
    ) -> tuple[Plugin, _Spec]:
        owner, _, _ = name.partition("/")
        if "/" in name:
            for plugin in self._given:
                for spec in specs_of(plugin):
                    if _plain(spec.id) == _plain(name):
                        return plugin, spec
            for source in self.sources():
                if source.name == owner:
                    plugin = self.plugin(source)
                    for spec in specs_of(plugin):
                        if _plain(spec.id) == _plain(name):
                            return plugin, spec
        wanted = _plain(name)
        known = [(plugin, spec) for plugin in self.plugins() for spec in specs_of(plugin)]
        for matches in (
            [pair for pair in known if wanted in (_plain(pair[1].id), _plain(pair[1].name))],
            [pair for pair in known if wanted in map(_plain, pair[1].search_aliases)],
        ):
            if len(matches) == 1:
                return matches[0]
            if matches:
                names = ", ".join(spec.id for _, spec in matches)
                raise UserError(f"{name!r} names several of them", action=f"Say which one: {names}")
        if kind == _MODEL and self.is_pretraining(name):
            raise UserError(
                f"{name} is a way of pre-training, not a network for masks",
                action=f"`segstudio train --pretrain {name}` trains with it",
            )
        raise self._unknown(name, [spec for _, spec in known], kind, action)

    def is_pretraining(self, name: str) -> bool:
        """Whether `name` is a way of pre-training, by its full id or its last part."""
        ways = [way for plugin in self.plugins() for way in plugin.pretraining]
        return _plain(name) in {_plain(part) for way in ways for part in (way.id, way.name)}

    def _unknown(
        self, name: str, specs: Sequence[ModelSpec | PretrainingSpec], kind: str, action: str
    ) -> UserError:
        by_plain = {_plain(spec.name): spec.name for spec in specs} | {
            _plain(spec.id): spec.id for spec in specs
        }
        nearest = [by_plain[near] for near in difflib.get_close_matches(_plain(name), by_plain, 3, 0.3)]
        if nearest:
            action = f"Did you mean {', '.join(nearest)}?"
        details = "\n".join(f"{plugin}: {error}" for plugin, error in self.problems.items())
        if self.problems:
            action += f" (not loaded: {', '.join(self.problems)})"
        return UserError(f"There is no {kind} named {name!r}", action=action, details=details)

    def resolve(self, plugin: Plugin, reference: str) -> Callable[..., Any]:
        """The function behind "module:function". In a plugin file its own stem names the file itself.

        Raises UserError where there is none.
        """
        module_name, _, attribute = reference.partition(":")
        own = self._modules.get(plugin.name)
        try:
            if own is not None and module_name in ("", plugin.name, Path(own.__file__ or "").stem):
                target: Any = own
            else:
                target = importlib.import_module(module_name)
            for part in attribute.split("."):
                target = getattr(target, part)
        except Exception as error:
            raise plugin_error(plugin.title, f"{reference} cannot be loaded", error) from error
        if not callable(target):
            raise UserError(f"{plugin.title}: {reference} is no function")
        result: Callable[..., Any] = target
        return result


def plugin_error(title: str, what: str, error: BaseException) -> UserError:
    """A plugin's exception as one sentence, with its traceback as details."""
    text = " ".join(str(error).split())
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return UserError(f"{title}: {what} ({said})", details="".join(traceback.format_exception(error)))


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")


def _from_entry_point(source: PluginSource) -> Plugin:
    for entry in importlib.metadata.entry_points(group=GROUP, name=source.name):
        try:
            return _checked(entry.load(), source)
        except UserError:
            raise
        except BaseException as error:  # an import may raise anything, SystemExit included
            raise plugin_error(f"Plugin {source.name}", "it cannot be loaded", error) from error
    raise UserError(f"Plugin {source.name} is not installed any longer")


def _from_file(source: PluginSource) -> tuple[Plugin, types.ModuleType]:
    """Runs exactly the bytes that were agreed to, whatever lies in the file a moment later."""
    path = Path(source.location)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError("The plugin file cannot be read", where=str(path), details=str(error)) from error
    if source.kind == "folder" and not has_consent(file_digest(content)):
        raise UserError(
            f"Plugin {source.name} is a new or changed file in the plugin folder",
            action="It is code: look at it, and allow it in SegStudio or by naming it with --plugin",
        )
    module = types.ModuleType(f"segstudio_plugin_file_{source.name}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look their own module up
    try:
        exec(compile(content, str(path), "exec"), module.__dict__)
        plugin = getattr(module, "PLUGIN", None)
        if plugin is None:
            raise UserError(
                f"{path.name} defines no PLUGIN", action="docs/plugin.md shows what a plugin needs"
            )
        return _checked(plugin, source), module
    except UserError:
        raise
    except BaseException as error:  # a plugin may raise anything, SystemExit included
        raise plugin_error(f"Plugin {source.name}", "it cannot be loaded", error) from error


def _checked(plugin: object, source: PluginSource) -> Plugin:
    """`plugin` where its facts fit; JSON and back finds wrong types before a window meets them."""
    if not isinstance(plugin, Plugin):
        raise UserError(f"Plugin {source.name}: PLUGIN is a {type(plugin).__name__}, expected a Plugin")
    try:
        plugin_from_json(plugin_to_json(plugin))
    except ValueError as error:
        raise UserError(f"Plugin {source.name}: its facts do not fit: {error}") from error
    for spec in plugin.models:
        if not spec.id.startswith(f"{plugin.name}/"):
            raise UserError(
                f"Plugin {source.name}: the id {spec.id!r} does not begin with {plugin.name!r} and a slash"
            )
    return plugin


def load_plugin_file(file: Path) -> Plugin:
    """The plugin in `file`, named by hand, for checks. Raises UserError."""
    return Registry().plugin(file_source(file, "file"))
