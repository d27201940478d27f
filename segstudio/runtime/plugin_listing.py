"""What a plugin says about its models: from the bytes its listing process wrote, or kept from the last time.

Reads and writes files and thousands of small facts, so it is called on a thread.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path

from segstudio.core import atomic_file
from segstudio.core.errors import UserError
from segstudio.core.plugin_sources import PluginSource
from segstudio.core.settings import cache_folder
from segstudio.plugin_api import Plugin, plugin_from_json

_CACHE_VERSION = 1


def kept_plugin(source: PluginSource) -> Plugin | None:
    """What the cache knows about exactly this source, None where it must be listed."""
    try:
        document = json.loads(_cache_path(source).read_bytes())
        if (document["version"], document["key"]) == (_CACHE_VERSION, source.key):
            plugin = plugin_from_json(document["plugin"])
            lacks = any(spec.unavailable for spec in plugin.models)
            return None if lacks and document.get("environment") != _environment() else plugin
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return None


def listed_plugin(output: bytes, source: PluginSource, errors: str, seconds: float) -> Plugin:
    """What a listing process wrote, kept for the next start. Raises UserError where it is no listing."""
    try:
        document = json.loads(output)
        if "error" in document:
            raise UserError.from_json(document["error"])
        plugin = plugin_from_json(document["plugin"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"Plugin {source.name} did not say within {seconds:.0f} seconds which models it has",
            action="Everything else goes on without it",
            details=errors or str(error),
        ) from error
    _keep(source, document["plugin"])
    return plugin


def _keep(source: PluginSource, plugin: object) -> None:
    document = {"version": _CACHE_VERSION, "key": source.key, "plugin": plugin}
    document["environment"] = _environment()
    try:
        atomic_file.write_bytes(_cache_path(source), json.dumps(document).encode("utf-8", "surrogatepass"))
    except OSError:
        return  # a full disk costs the next start a listing, nothing else


def _environment() -> list[list[str | int]]:
    """Changes when a package is installed or removed: what a model lacked may be there now."""
    found: list[list[str | int]] = []
    for folder in sys.path:
        with suppress(OSError):
            found.append([folder, Path(folder).stat().st_mtime_ns])
    return [entry for entry in found if str(entry[0]).endswith("-packages")]


def _cache_path(source: PluginSource) -> Path:
    folder = cache_folder() / "plugins"
    folder.mkdir(exist_ok=True)
    return folder / f"{source.name}.json"
