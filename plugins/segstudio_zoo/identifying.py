"""Which network a state dict belongs to.

Keys are brought into the network's own names by each layout whose tell-tale keys are there. A listed
network of the same keys and backbone shapes (`signatures`) is built on torch's "meta" device (no memory, no
weights) and compared key by key and shape by shape; where there is none, every network whose parts are alike.
What keys cannot tell (output stride) is given in the order of the published variants.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from segstudio.plugin_api import FeatureInfo
from segstudio_zoo import catalog, signatures
from segstudio_zoo.catalog.entry import BackboneEntry, SegmentorEntry
from segstudio_zoo.key_map import (
    OWN,
    TRUNK,
    KeyMap,
    key_maps,
    plan,
    through_backbone,
    unwrap,
)
from segstudio_zoo.likely_variants import plausible_variants
from segstudio_zoo.names import Resolved, UnknownModel, list_models, normal, resolve
from segstudio_zoo.option_search import Misfit, fitting_options
from segstudio_zoo.skeletons import needed_options, optioned

CLASSIFIER = r"decode_head(\.\d+)?\.(conv_seg|cls_seg|fc_seg|classifier)\.weight"


Features = Callable[[], Sequence[FeatureInfo]]


@dataclass(frozen=True, slots=True)
class Identified:
    """`create_model(name, num_classes=num_classes, **options)` and a load is that checkpoint.

    `note` says, as a sentence, which parts of the function its keys leave open (from the network file's
    `untold(shapes)`).
    """

    name: str
    num_classes: int | None
    layout: str
    options: dict[str, Any] = field(default_factory=dict)
    note: str = ""


def identify(state_dict: Mapping[str, Any]) -> list[Identified]:
    """The networks that `state_dict` fits without a missing, unexpected or mismatched key, best first.

    Empty where it is none of ours. `state_dict` may be nested in "state_dict" or "model" and carry
    "module." prefixes; tensors may lie on any device.
    """
    if not isinstance(state_dict, Mapping):
        return []
    state = {key: value.to("meta") for key, value in unwrap(state_dict).items()}
    if not state:
        return []
    if all(key.startswith(TRUNK) for key in state):
        return identify({key.removeprefix(TRUNK): value for key, value in state.items()})
    found = list(_as_listed(state))
    for searching in (False, True):  # options are tried out where no network's file infers them
        if not found:
            for segmentor in catalog.segmentors():
                found.extend(_as_segmentor(segmentor, state, searching=searching))
        if not found:
            for backbone in catalog.backbones():
                found.extend(_as_backbone(backbone, state, searching=searching))
    unique: dict[str, Identified] = {}
    for item in found:
        unique.setdefault(item.name, item)
    canonical = set(list_models())
    return sorted(unique.values(), key=lambda item: (item.name not in canonical, len(item.options)))


def _file(build: str) -> str:
    return build.partition(":")[0]


def _layouts(file: str, state: Mapping[str, Tensor]) -> Iterator[KeyMap]:
    yield from (key_map for key_map in key_maps(file) if key_map.identifies and key_map.fits(state))
    yield OWN


def _trunk_prefix(file: str) -> str:
    """What stands before a backbone's own keys in a segmentor's: a paper may wrap it (`TRUNK_PREFIX`)."""
    return str(getattr(importlib.import_module(file), "TRUNK_PREFIX", "backbone."))


def _renamed(state: Mapping[str, Tensor], key_map: KeyMap) -> dict[str, Tensor]:
    result = {}
    for key, value in state.items():
        _, target = key_map.rename(key)
        if target is not None:
            result[target.partition("#")[0]] = value  # pieces that a transform joins count as the whole
    return result


def _as_listed(state: Mapping[str, Tensor]) -> Iterator[Identified]:
    """Listed segmentors with exactly these keys, in the networks' own layout."""
    if not any(key.startswith("decode_head.") for key in state):
        return
    for name in signatures.listed_like({key: tuple(value.shape) for key, value in state.items()}):
        found = resolve(name)
        assert found.segmentor is not None
        trunk_file, head_file = _file(found.backbone.build), _file(found.segmentor.build)
        prefix = _trunk_prefix(head_file)
        trunk = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        trunk_options = _inferred(trunk_file, trunk)
        asked: Features = partial(_features, [found.variant.name], trunk_options)
        for features in (tuple, asked):  # a trunk is built for its widths where nothing fits without them
            options = {**trunk_options, **_inferred(head_file, state, features)}
            classes = options.pop("num_classes", _num_classes(found.segmentor, state))
            match = _fitting(name, classes, options, state, OWN)
            if match is not None:
                yield match
                break


def _as_segmentor(
    entry: SegmentorEntry, state: Mapping[str, Tensor], *, searching: bool
) -> Iterator[Identified]:
    file = _file(entry.build)
    prefix = _trunk_prefix(file)
    for key_map in _layouts(file, state):
        if key_map is OWN and not any(key.startswith("decode_head.") for key in state):
            continue  # a bare backbone: spares building every family to compare heads
        renamed = _renamed(state, key_map)
        heads = signatures.patterns(k for k in renamed if not k.startswith(("backbone.", "auxiliary_head.")))
        if not signatures.head_vocabulary(entry.id).speaks(heads):
            continue
        for backbone in catalog.backbones():
            whole = key_map
            if key_map.inner:
                if not any(
                    m.layout == key_map.inner and m.identifies for m in key_maps(_file(backbone.build))
                ):
                    continue
                whole = through_backbone(key_map, _file(backbone.build))
                renamed = _renamed(state, whole)
            trunk = {k.removeprefix(prefix): v for k, v in renamed.items() if k.startswith(prefix)}
            if not signatures.trunk_vocabulary(backbone.id).speaks(signatures.patterns(trunk), known=0.7):
                continue
            yield from _matching_pairs(entry, backbone, state, whole, renamed, trunk, searching=searching)


def _matching_pairs(
    entry: SegmentorEntry,
    backbone: BackboneEntry,
    state: Mapping[str, Tensor],
    key_map: KeyMap,
    renamed: Mapping[str, Tensor],
    trunk: Mapping[str, Tensor],
    *,
    searching: bool,
) -> Iterator[Identified]:
    classes = _num_classes(entry, renamed)
    trunk_options = _inferred(_file(backbone.build), trunk)
    any_width = bool(trunk_options) or key_map.transform is not None
    variants = plausible_variants(backbone, trunk, any_width=any_width)
    likely = [variant.name for variant in backbone.variants if variant.name in variants]
    features = partial(_features, likely, {**trunk_options, **key_map.options})
    options = {**trunk_options, **_inferred(_file(entry.build), renamed, features), **key_map.options}
    classes = options.pop("num_classes", classes)
    names = [name for name in _candidate_names(entry, backbone) if resolve(name).variant.name in variants]
    if searching:
        yield from _searched(names, classes, options, state, key_map)
        return
    for name in names:
        match = _fitting(name, classes, options, state, key_map)
        if match is not None:
            yield match


def _fitting(
    name: str,
    classes: int | None,
    options: Mapping[str, Any],
    state: Mapping[str, Tensor],
    key_map: KeyMap,
) -> Identified | None:
    """The named network, as its name builds it or with `options`, where `state` fits without a problem."""
    before: list[dict[str, Any]] = []
    for tried in ({}, options):
        chosen = {
            **needed_options(name, tried, options),
            **needed_options(name, key_map.options, key_map.options),
        }
        if chosen in before:
            continue
        before.append(chosen)
        model = optioned(name, chosen, classes)
        if model is not None and plan(model, state, key_map).problems == 0:
            return _noted(Identified(name, classes, key_map.layout, chosen), model)
    return None


def _noted(found: Identified, model: nn.Module) -> Identified:
    resolved = resolve(found.name)
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    notes = []
    if resolved.segmentor is not None:
        notes.append(_untold(_file(resolved.segmentor.build), shapes))
        prefix = _trunk_prefix(_file(resolved.segmentor.build))
        shapes = {key.removeprefix(prefix): shape for key, shape in shapes.items() if key.startswith(prefix)}
    notes.append(_untold(_file(resolved.backbone.build), shapes))
    return replace(found, note=" ".join(filter(None, notes)))


def _untold(file: str, shapes: Mapping[str, tuple[int, ...]]) -> str:
    untold = getattr(importlib.import_module(file), "untold", None)
    return "" if untold is None else str(untold(shapes))


def _searched(
    names: list[str],
    classes: int | None,
    options: Mapping[str, Any],
    state: Mapping[str, Tensor],
    key_map: KeyMap,
) -> Iterator[Identified]:
    """The nearest of the named networks with the declared options that make `state` fit, if any do."""

    def misfit(name: str, chosen: Mapping[str, Any]) -> Misfit | None:
        model = optioned(name, {**chosen, **key_map.options}, classes)
        if model is None:
            return None
        planned = plan(model, state, key_map)
        report = planned.report
        lengths = Counter(n for key in report.mismatched if key in state for n in state[key].shape)
        idle = sum(key.startswith("auxiliary_head.") for key in report.unused)
        return Misfit(planned.problems + idle, lengths, planned.problems == 0)

    starts = []
    for name in names:
        for start in ({}, needed_options(name, options, options)):
            found = misfit(name, start)
            if found is not None:
                starts.append((found.problems, name, start))
    if not starts:
        return
    problems, name, start = min(starts, key=lambda item: item[0])
    if 2 * problems > len(state):  # another network altogether
        return
    resolved = resolve(name)
    declared = (
        *(resolved.segmentor.options if resolved.segmentor else ()),
        *resolved.backbone.options_of(resolved.variant),
    )
    chosen = fitting_options(declared, start, partial(misfit, name))
    if chosen is None:
        return
    needed = {
        **needed_options(name, chosen, chosen),
        **needed_options(name, key_map.options, key_map.options),
    }
    model = optioned(name, needed, classes)
    if model is not None:
        yield _noted(Identified(name, classes, key_map.layout, needed), model)


def _candidate_names(entry: SegmentorEntry, backbone: BackboneEntry) -> Iterator[str]:
    """Published names of the pair first, then one name for every other variant of the backbone."""
    taken: set[str] = set()
    published = [*list_models(entry.id), *(model.name for model in entry.models if not model.listed)]
    for name in published:
        found = _known(name)
        if found is not None and found.backbone is backbone:
            taken.add(found.variant.name)
            yield name
    dilated = any("-d8" in name for name in published) and 8 in backbone.output_strides
    for variant in backbone.variants:
        if variant.name not in taken:
            stride = "-d8" if dilated else ""
            short = f"{entry.id}_{variant.segmentor_suffix}{stride}"
            told = _known(short)  # a family may mean another variant by the short name
            same = told is not None and told.variant is variant
            yield short if same else f"{entry.id}_{variant.name}{stride}"


def _known(name: str) -> Resolved | None:
    try:
        return resolve(name)
    except UnknownModel:
        return None


def _num_classes(entry: SegmentorEntry, shapes: Mapping[str, Tensor]) -> int | None:
    keys = sorted(key for key in shapes if re.fullmatch(CLASSIFIER, key))
    return int(shapes[keys[-1]].shape[0]) if keys else None


def _inferred(file: str, state: Mapping[str, Tensor], features: Features = tuple) -> dict[str, Any]:
    """What the network file's `infer_options` tells; where it asks for `widths`, it gets the channels of the
    backbone's `features`."""
    infer = getattr(importlib.import_module(file), "infer_options", None)
    if infer is None or not state:
        return {}
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    try:
        if "widths" in inspect.signature(infer).parameters:
            return dict(infer(shapes, widths=[info.channels for info in features()]))
        return dict(infer(shapes))
    except (LookupError, StopIteration, ValueError, TypeError):
        return {}  # another family's keys: the comparison that follows rejects them


def _features(variants: Sequence[str], options: Mapping[str, Any]) -> Sequence[FeatureInfo]:
    """The features of the first of these bare backbones, built with `options`; none where it cannot be."""
    model = optioned(variants[0], options) if variants else None
    return () if model is None else model.features


def _as_backbone(
    entry: BackboneEntry, state: Mapping[str, Tensor], *, searching: bool
) -> Iterator[Identified]:
    for key_map in _layouts(_file(entry.build), state):
        renamed = _renamed(state, key_map)
        if not signatures.trunk_vocabulary(entry.id).speaks(signatures.patterns(renamed)):
            continue
        inferred = _inferred(_file(entry.build), renamed)
        options = {**inferred, **key_map.options}
        options.pop("num_classes", None)
        any_width = bool(inferred) or key_map.transform is not None
        variants = plausible_variants(entry, renamed, any_width=any_width)
        names = [variant.name for variant in entry.variants if variant.name in variants]
        if searching:
            yield from _searched([_bare_name(name) for name in names], None, options, state, key_map)
            continue
        for name in names:
            before: list[dict[str, Any]] = []
            for tried in ({}, options):
                chosen = {**needed_options(name, tried, options), **key_map.options}
                if chosen in before:
                    continue
                before.append(chosen)
                model = optioned(name, chosen)
                if model is not None and plan(model, state, key_map).problems == 0:
                    yield _noted(Identified(_bare_name(name), None, key_map.layout, chosen), model)
                    break


def _bare_name(variant: str) -> str:
    return resolve(normal(variant)).name


__all__ = ["Identified", "identify"]
