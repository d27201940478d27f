"""Prints the models of plugins as JSON: a short process for each, so that a bad one harms nothing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from segstudio.core.errors import UserError
from segstudio.plugin_api import Plugin, plugin_to_json
from segstudio.registry import Registry, plugin_error
from segstudio.worker.memory import limit_memory
from segstudio.worker.streams import claim_stdout

_CHECK_MEMORY_LIMIT = 64 * 2**30
"""Address space, not memory: a torch for GPUs maps many GiB when it is imported and touches few of them."""


def print_listing(name: str, plugin_files: Sequence[Path] = (), *, memory_limit: int = 0) -> int:
    """Prints `{"plugin": …}` or `{"error": …}` for the source `name`; all of them where it is empty.

    A plugin's own prints go to standard error.
    """
    stream = claim_stdout()
    if memory_limit:
        limit_memory(memory_limit)
    registry = Registry(plugin_files)
    sources = [source for source in registry.sources() if name in ("", source.name)]
    documents: list[dict[str, Any]] = []
    for source in sources:
        try:
            plugin = registry.plugin(source)
            if plugin.check:
                if memory_limit:
                    limit_memory(max(memory_limit, _CHECK_MEMORY_LIMIT))
                plugin = _checked(registry, plugin)
            documents.append({"source": source.name, "plugin": plugin_to_json(plugin)})
        except UserError as error:
            documents.append({"source": source.name, "error": error.to_json()})
    if name and not documents:
        documents.append({"source": name, "error": UserError(f"There is no plugin named {name!r}").to_json()})
    document: Any = documents[0] if name else documents
    stream.write((json.dumps(document) + "\n").encode("utf-8", "surrogatepass"))
    sys.stderr.flush()
    # A plugin may have left threads or exit handlers behind; the answer is out, so nothing waits for them.
    os._exit(0)


def _checked(registry: Registry, plugin: Plugin) -> Plugin:
    """The plugin with what its own check found standing at all its models and ways of pre-training."""
    try:
        reason = str(registry.resolve(plugin, plugin.check)() or "")
    except UserError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 - what a check imports may raise anything
        reason = str(plugin_error(plugin.title, "its check failed", error))
    if not reason:
        return plugin
    models = tuple(replace(spec, unavailable=spec.unavailable or reason) for spec in plugin.models)
    pretraining = tuple(replace(spec, unavailable=spec.unavailable or reason) for spec in plugin.pretraining)
    return replace(plugin, models=models, pretraining=pretraining)
