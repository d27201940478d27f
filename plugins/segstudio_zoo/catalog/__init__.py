"""All papers of the zoo, found by looking at the files of this folder. Nothing here imports torch."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from segstudio_zoo.catalog.entry import BackboneEntry, Entry, SegmentorEntry

_INFRASTRUCTURE = {"entry", "losses", "pages", "pretraining", "published"}


@cache
def entries() -> tuple[Entry, ...]:
    """Every entry of the catalog, in the order of the file names."""
    found: list[Entry] = []
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name):
        if module.name in _INFRASTRUCTURE:
            continue
        content = importlib.import_module(f"{__name__}.{module.name}")
        found.extend(getattr(content, "ENTRIES", None) or (content.ENTRY,))
    return tuple(found)


def backbones() -> tuple[BackboneEntry, ...]:
    return tuple(entry for entry in entries() if isinstance(entry, BackboneEntry))


def segmentors() -> tuple[SegmentorEntry, ...]:
    return tuple(entry for entry in entries() if isinstance(entry, SegmentorEntry))
