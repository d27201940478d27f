"""Finding a network by what people call it: its paper, backbone, data set, and names it has by mistake."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

from segstudio.plugin_api import Checkpoint, ModelSpec, PretrainingSpec

Listed = ModelSpec | PretrainingSpec


def plain(text: str) -> str:
    """Without blanks, "-", "_", middle dots and capitals."""
    return re.sub(r"[\s_\-·]+", "", text).casefold()


def words_of(spec: Listed) -> list[str]:
    """Everything that a network, or a way of training, can be found by."""
    words = [spec.title, spec.name, spec.system, *spec.search_aliases]
    if isinstance(spec, ModelSpec):
        words += [spec.family, spec.backbone]
    return [*words, spec.paper_title, spec.authors, spec.venue, str(spec.year or ""), spec.paper]


def words_of_checkpoint(checkpoint: Checkpoint) -> list[str]:
    """What weights can be found by: their name, data set, classes and crop ("512x1024")."""
    crop = [] if checkpoint.crop is None else ["{}x{}".format(*checkpoint.crop)]
    return [checkpoint.id, checkpoint.dataset, checkpoint.taxonomy, *crop]


def haystack_of(words: list[str]) -> str:
    """Words as `matches` takes them: plain, kept apart by a space."""
    return " ".join(map(plain, words))


def matches(haystack: str, query: str) -> bool:
    """Whether every word of a query occurs in what `haystack_of` gave; "-", "_" and case do not count."""
    words = [plain(word) for word in query.split()]
    return all(word in haystack for word in words if word) or (bool(words) and "".join(words) in haystack)


def is_family(spec: Listed, name: str) -> bool:
    """Whether `name` is a spec's family, system or one of the names people have for it."""
    names = (getattr(spec, "family", ""), spec.system, *spec.search_aliases)
    return plain(name) in map(plain, names)


def nearest(query: str, names: Mapping[str, str]) -> str:
    """The value of the plain name that comes closest to a query that found nothing, or an empty string."""
    found = difflib.get_close_matches(plain(query), names, 1, 0.6)
    return names[found[0]] if found else ""
