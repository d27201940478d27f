"""Finding what can be run or fetched by what people call it, and the classes it tells apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from segstudio.core import model_search
from segstudio.core.errors import UserError
from segstudio.core.taxonomies import first_classes, load_taxonomy
from segstudio.runtime.published_weights import Offer

matches = model_search.matches


def searchable(offer: Offer) -> str:
    """Everything an offer can be found by, for `matches`."""
    words = [*model_search.words_of(offer.spec), offer.plugin]
    if offer.checkpoint is not None:
        words += model_search.words_of_checkpoint(offer.checkpoint)
    if offer.runnable is not None:
        words += [offer.runnable.title, offer.runnable.origin, str(offer.runnable.ref.get("weights") or "")]
    return model_search.haystack_of(words)


def nearest(query: str, offers: Iterable[Offer]) -> str:
    """The system or data set whose name comes closest to a query that found nothing, or an empty string."""
    names: dict[str, str] = {}
    for offer in offers:
        for name in (offer.system, offer.spec.backbone, offer.dataset):
            names.setdefault(model_search.plain(name), name)
        for alias in offer.spec.search_aliases:
            names.setdefault(model_search.plain(alias), offer.system)
    return model_search.nearest(query, names)


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
    number = checkpoint.num_classes
    fitting = first_classes(classes, number) if number else tuple(classes)
    return tuple((entry.name, entry.color) for entry in fitting or ())
