"""Which sizes of a backbone the tensors of a trunk may be: worth building and comparing whole networks on."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from torch import Tensor

from segstudio_zoo import signatures
from segstudio_zoo.catalog.entry import BackboneEntry
from segstudio_zoo.key_map import tables_of_any_size
from segstudio_zoo.names import resolve
from segstudio_zoo.skeletons import skeleton


@cache
def _trunk_keys(name: str) -> frozenset[str]:
    """The keys of a bare backbone, without counters."""
    return frozenset(k for k in skeleton(name).state_dict() if not k.endswith("num_batches_tracked"))


def _same_shapes(name: str, trunk: Mapping[str, Tensor]) -> bool:
    """Whether every tensor that the bare backbone `name` also has is of the same shape, tables apart."""
    model = skeleton(name)
    own = model.state_dict()
    checked = own.keys() - tables_of_any_size(model)
    return all(own[key].shape == value.shape for key, value in trunk.items() if key in checked)


def _alike(own: frozenset[str], given: set[str], share: float = 0.6) -> bool:
    """Whether `share` of both sets is common: worth building and comparing."""
    common = len(own & given)
    return common >= share * len(own) and common >= share * len(given)


def plausible_variants(entry: BackboneEntry, trunk: Mapping[str, Tensor], *, any_width: bool) -> set[str]:
    """The variants that `trunk` equals; else those of nearly its keys and, unless `any_width`, its shapes.

    Where there is none, the nearest: an option may have changed every key or shape.
    """
    shapes = {key: tuple(value.shape) for key, value in trunk.items()}
    equal = () if any_width else signatures.listed_like(shapes)
    if equal:
        return {resolve(name).variant.name for name in equal}
    given = {key for key in trunk if not key.endswith("num_batches_tracked")}
    alike = (variant.name for variant in entry.variants if _variant_alike(variant.name, given))
    found = {name for name in alike if any_width or _same_shapes(name, trunk)}
    return found or _nearest_variants(entry, shapes)


def _nearest_variants(entry: BackboneEntry, shapes: Mapping[str, tuple[int, ...]], most: int = 2) -> set[str]:
    """The variants that have the most keys of `shapes`, of those the most of the same shape."""

    def common(name: str) -> tuple[int, int]:
        own = skeleton(name).state_dict()
        shared = own.keys() & shapes.keys()
        same = sum(tuple(own[key].shape) == shapes[key] for key in shared)
        return 2 * len(shared) - len(own), same

    names = [variant.name for variant in entry.variants]
    return set(sorted(names, key=common, reverse=True)[:most])


def _variant_alike(variant: str, given: set[str], share: float = 0.85) -> bool:
    """Whether a bare backbone has nearly the keys `given`; built only where their number allows it."""
    size = signatures.trunk_size(variant)
    if min(size, len(given)) < share * max(size, len(given)):
        return False
    return _alike(_trunk_keys(variant), given, share)
