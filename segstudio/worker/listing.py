"""Prints the models of plugins as JSON: a short process for each, so that a bad one harms nothing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segstudio.core.errors import UserError
from segstudio.plugin_api import plugin_to_json
from segstudio.registry import Registry
from segstudio.worker.memory import limit_memory
from segstudio.worker.streams import claim_stdout


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
            documents.append({"source": source.name, "plugin": plugin_to_json(registry.plugin(source))})
        except UserError as error:
            documents.append({"source": source.name, "error": error.to_json()})
    if name and not documents:
        documents.append({"source": name, "error": UserError(f"There is no plugin named {name!r}").to_json()})
    document: Any = documents[0] if name else documents
    stream.write((json.dumps(document) + "\n").encode("utf-8", "surrogatepass"))
    sys.stderr.flush()
    # A plugin may have left threads or exit handlers behind; the answer is out, so nothing waits for them.
    os._exit(0)
