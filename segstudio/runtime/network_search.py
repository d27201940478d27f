"""Finding a network by what people call it: its paper, backbone, data set, and names it has by mistake."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from segstudio.core.errors import UserError
from segstudio.core.taxonomies import load_taxonomy
from segstudio.runtime.published_weights import Offer


def searchable(offer: Offer) -> str:
    """Everything an offer can be found by, plain; the parts are kept apart by a space."""
    spec, checkpoint = offer.spec, offer.checkpoint
    words = [spec.title, spec.name, spec.system, spec.family, spec.backbone, *spec.search_aliases]
    words += [spec.paper_title, spec.authors, spec.venue, str(spec.year or ""), spec.paper, offer.plugin]
    if checkpoint is not None:
        words += [checkpoint.id, checkpoint.dataset, checkpoint.taxonomy]
        if checkpoint.crop is not None:
            words.append("{}x{}".format(*checkpoint.crop))
    if offer.runnable is not None:
        words += [offer.runnable.title, offer.runnable.origin, str(offer.runnable.ref.get("weights") or "")]
    return " ".join(map(_plain, words))


def matches(haystack: str, query: str) -> bool:
    """Whether every word of a query occurs in what `searchable` gave; "-", "_" and case do not count."""
    words = [_plain(word) for word in query.split()]
    return all(word in haystack for word in words if word) or (bool(words) and "".join(words) in haystack)


def nearest(query: str, offers: Iterable[Offer]) -> str:
    """The system or data set whose name comes closest to a query that found nothing, or an empty string."""
    names: dict[str, str] = {}
    for offer in offers:
        for name in (offer.system, offer.spec.backbone, offer.dataset):
            names.setdefault(_plain(name), name)
        for alias in offer.spec.search_aliases:
            names.setdefault(_plain(alias), offer.system)
    found = difflib.get_close_matches(_plain(query), names, 1, 0.6)
    return names[found[0]] if found else ""


def class_names(offer: Offer) -> Sequence[tuple[str, tuple[int, int, int]]]:
    """Names and colours of the classes an offer tells apart, as far as they are known."""
    if offer.runnable is not None:
        return tuple(zip(offer.runnable.class_names, offer.runnable.class_colors, strict=False))
    checkpoint = offer.checkpoint
    if checkpoint is None or not checkpoint.taxonomy:
        return ()
    try:
        classes = load_taxonomy(checkpoint.taxonomy).classes
    except UserError:
        return ()  # a data set only the plugin knows
    return tuple((entry.name, entry.color) for entry in classes)


def _plain(text: str) -> str:
    return re.sub(r"[\s_\-·]+", "", text).casefold()
