"""From a name to the entries, variant and settings it means; torch-free.

`<segmentor>_<backbone>[-d<stride>]`, or a bare backbone. Case, "-" and "_" are equal. Published
configuration names are aliases up to their "_4xb2-..." part, also with backbone and segmentor swapped
("mobilenet-v2-d8_deeplabv3"). Of that part only what changes the network counts: a crop of 769 aligns
corners, a data set has so many classes, and a family may have settings of its own for it (`recipes`).
Suffixes that only say how a network was trained are ignored, but "rsb": it stands on torchvision's stem.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from segstudio.plugin_api.specs import OptionValue
from segstudio_zoo import catalog
from segstudio_zoo.catalog.entry import BackboneEntry, BackboneVariant, NamedModel, SegmentorEntry

_TRAINING = ("in1k-pre", "rsb", "pretrain", "scratch", "fp16", "ohem", "lr5e-3")
_PUBLISHERS = ("torchvision", "timm", "transformers", "mmseg", "mmsegmentation", "backbone")


_RECIPE = r"-\d+xb?\d+(-.*)?$"
_CLASSES = {
    "cityscapes": 19,
    "ade20k": 150,
    "voc12aug": 21,
    "pascal-context-59": 59,
    "pascal-context": 60,
    "coco-stuff10k": 171,
    "coco-stuff164k": 171,
    "loveda": 7,
    "potsdam": 6,
    "vaihingen": 6,
    "isaid": 16,
    "mapillay-v1-65": 65,
}


class UnknownModel(ValueError):
    """No model has this name; the message gives the three nearest."""


@dataclass(frozen=True)
class Resolved:
    """What a name means. `segmentor` is None for a bare backbone, `settings` what the name itself fixes."""

    name: str
    segmentor: SegmentorEntry | None
    backbone: BackboneEntry
    variant: BackboneVariant
    output_stride: int | None
    settings: dict[str, OptionValue] = field(default_factory=dict)
    model: NamedModel | None = None


def normal(name: str) -> str:
    """The form in which names are compared."""
    return re.sub(r"-+", "-", name.strip().lower().replace("_", "-")).strip("-")


def _cleaned(name: str) -> str:
    """`name` without a publisher before "/", what comes after "_4xb2-" and suffixes about training."""
    name = re.sub(_RECIPE, "", normal(name).rpartition("/")[2])
    name = re.sub(r"(^|-)(r\d+)((?:-d\d+)?)-rsb(?=-|$)", r"\1\2b\3", name)
    for word in _TRAINING:
        name = re.sub(rf"-{word}(?=-|$)", "", name)
    return name


@cache
def _variants() -> dict[str, tuple[BackboneEntry, BackboneVariant]]:
    table: dict[str, tuple[BackboneEntry, BackboneVariant]] = {}
    for entry in catalog.backbones():
        for variant in entry.variants:
            for name in (variant.name, variant.short, *variant.aliases):
                if name:
                    table.setdefault(normal(name), (entry, variant))
    return table


@cache
def named_models() -> dict[str, tuple[SegmentorEntry | BackboneEntry, NamedModel]]:
    """Every name and alias that an entry lists, in normal form. Named models win over plain pairs."""
    table: dict[str, tuple[SegmentorEntry | BackboneEntry, NamedModel]] = {}
    entries = [*catalog.segmentors(), *catalog.backbones()]
    for entry in entries:
        for model in entry.models:
            for name in (model.name, *model.aliases):
                table.setdefault(normal(name), (entry, model))
    for segmentor in catalog.segmentors():
        for backbone in segmentor.backbones:
            name = f"{segmentor.id}_{backbone}"
            plain = (segmentor, NamedModel(name, backbone=backbone))
            table.setdefault(normal(f"{backbone}_{segmentor.id}"), table.setdefault(normal(name), plain))
    return table


def parse_backbone(
    text: str,
) -> tuple[BackboneEntry, BackboneVariant, int | None, dict[str, OptionValue]] | None:
    """(entry, variant, output stride or None, settings) of "r101-d16-mg124" and the like, or None."""
    name = normal(text)
    settings: dict[str, OptionValue] = {}
    whole = _variants().get(name)
    stride: int | None = None
    if whole is None:
        grid = re.search(r"-mg(\d+)(?=-|$)", name)
        if grid:
            settings["multi_grid"] = tuple(int(digit) for digit in grid.group(1))
            name = name.replace(grid.group(0), "", 1)
        found = re.search(r"-d(8|16|32)(?=-|$)", name)
        if found:
            stride = int(found.group(1))
            name = name.replace(found.group(0), "", 1)
        whole = _variants().get(name)
    if whole is None:
        return None
    return whole[0], whole[1], stride, settings


def _check_stride(name: str, entry: BackboneEntry, stride: int | None) -> int | None:
    if stride is not None and stride not in entry.output_strides:
        known = ", ".join(map(str, entry.output_strides)) or "no other than its own"
        raise UnknownModel(f"{name}: {entry.title} has output strides {known}, not {stride}.")
    if stride is None and 32 in entry.output_strides:
        return 32
    return stride


def resolve(name: str, backbone: str | None = None) -> Resolved:
    """The meaning of `name`, with another backbone where one is given.

    Raises UnknownModel with the three nearest names.
    """
    tried = _cleaned(name)
    settings: dict[str, OptionValue] = {}
    found = _resolve(name, tried, backbone)
    if found is None and tried.endswith("-769"):
        settings["align_corners"] = True
        tried = tried.removesuffix("-769")
        found = _resolve(name, tried, backbone)
    for publisher in _PUBLISHERS:
        if found is None and tried.startswith(f"{publisher}-"):
            found = _resolve(name, tried.removeprefix(f"{publisher}-"), backbone)
    if found is None:
        raise UnknownModel(f'No model is called "{name}". Nearest: {", ".join(nearest(name))}.')
    found.settings.update({**settings, **recipe_settings(name, found.segmentor)})
    return found


def recipe_settings(name: str, segmentor: SegmentorEntry | None) -> dict[str, OptionValue]:
    """What a published configuration's name says about the network after "_4xb2-"."""
    recipe = re.search(_RECIPE, normal(name))
    settings: dict[str, OptionValue] = {}
    if recipe is None or segmentor is None:
        return settings
    classes = next((count for word, count in _CLASSES.items() if word in recipe[0]), None)
    if classes is not None:
        settings["num_classes"] = classes
    if "769x769" in recipe[0]:
        settings["align_corners"] = True
    for word, own in segmentor.recipes:
        if word in recipe[0]:
            settings.update(dict(own))
    return settings


def _resolve(given: str, name: str, backbone: str | None) -> Resolved | None:
    listed = named_models().get(name)
    if listed is not None:
        entry, model = listed
        return _from_model(given, entry, model, backbone)
    bare = parse_backbone(name)
    if bare is not None:
        entry, variant, stride, extra = bare
        stride = _check_stride(given, entry, stride)
        canonical = variant.name if stride in (None, 32) else f"{variant.name}-d{stride}"
        return Resolved(canonical, None, entry, variant, stride, {**dict(variant.settings), **extra})
    for prefix, segmentor in _segmentor_names():
        if name == prefix:
            if backbone is not None:
                return _pair(given, segmentor, backbone, {}, None)
            model = segmentor.models[0] if segmentor.models else None
            if segmentor.backbones:
                _, model = named_models()[normal(f"{segmentor.id}_{segmentor.backbones[0]}")]
            assert model is not None
            return _from_model(given, segmentor, model, backbone)
        rest = ""
        if name.startswith(f"{prefix}-"):
            rest = name.removeprefix(f"{prefix}-")
        elif name.endswith(f"-{prefix}"):
            rest = name.removesuffix(f"-{prefix}")
        if rest and parse_backbone(rest) is not None:
            return _pair(given, segmentor, backbone or rest, {}, None)
    return None


@cache
def _segmentor_names() -> tuple[tuple[str, SegmentorEntry], ...]:
    pairs = [(normal(alias), entry) for entry in catalog.segmentors() for alias in (entry.id, *entry.aliases)]
    return tuple(sorted(pairs, key=lambda pair: -len(pair[0])))


def _from_model(
    given: str, entry: SegmentorEntry | BackboneEntry, model: NamedModel, backbone: str | None
) -> Resolved:
    settings = dict(model.settings)
    if isinstance(entry, SegmentorEntry):
        return _pair(given, entry, backbone or model.backbone, settings, model)
    parsed = parse_backbone(model.backbone)
    if parsed is None:
        raise UnknownModel(f"{given}: its backbone {model.backbone} is not in the catalog.")
    owner, variant, stride, extra = parsed
    stride = _check_stride(given, owner, stride)
    return Resolved(
        model.name, None, owner, variant, stride, {**dict(variant.settings), **extra, **settings}, model
    )


def _pair(
    given: str,
    segmentor: SegmentorEntry,
    backbone: str,
    settings: dict[str, OptionValue],
    model: NamedModel | None,
) -> Resolved:
    parsed = parse_backbone(backbone)
    if parsed is None:
        close = difflib.get_close_matches(normal(backbone), list(_variants()), n=3, cutoff=0.0)
        raise UnknownModel(f'{given}: no backbone is called "{backbone}". Nearest: {", ".join(close)}.')
    entry, variant, stride, extra = parsed
    stride = _check_stride(given, entry, stride)
    if model is None:
        model = _same_pair(segmentor, (entry.id, variant.name, stride, extra.get("multi_grid")))
        backbone = model.backbone if model is not None else backbone
        settings = {**dict(model.settings), **settings} if model is not None else settings
    own = model is not None and normal(model.backbone) == normal(backbone)
    suffix = variant.segmentor_suffix if stride in (None, 32) else f"{variant.segmentor_suffix}-d{stride}"
    grid = extra.get("multi_grid")
    if isinstance(grid, tuple):
        suffix += f"-mg{''.join(map(str, grid))}"
    if model is not None and own:
        canonical = model.name
    else:
        canonical = f"{segmentor.id}_{suffix}"
    merged = {**dict(variant.settings), **extra, **settings}
    return Resolved(canonical, segmentor, entry, variant, stride, merged, model if own else None)


def _same_pair(segmentor: SegmentorEntry, key: tuple[object, ...]) -> NamedModel | None:
    """The listed model of a family on this backbone, however the name spelled it."""
    listed = [model for model in segmentor.models if model.listed]
    listed += [NamedModel(f"{segmentor.id}_{name}", backbone=name) for name in segmentor.backbones]
    for model in listed:
        parsed = parse_backbone(model.backbone)
        if parsed is None:
            continue
        entry, variant, stride, extra = parsed
        if stride is None and 32 in entry.output_strides:
            stride = 32
        if (entry.id, variant.name, stride, extra.get("multi_grid")) == key:
            return model
    return None


def nearest(name: str, count: int = 3) -> list[str]:
    """The listed names most like `name`; where it begins with what a system is also called, that system's."""
    tried, family = _by_other_name(_cleaned(name))
    known = {normal(item): item for item in list_models(family)}
    close = difflib.get_close_matches(tried, list(known), n=count, cutoff=0.0)
    return [known[item] for item in close]


def _by_other_name(name: str) -> tuple[str, str | None]:
    """("psanet-r50-d8", "psanet") of "psnet-r50-d8": surveys call some systems otherwise."""
    for entry in catalog.segmentors():
        for alias in map(normal, entry.search_aliases):
            if f"{name}-".startswith(f"{alias}-"):
                return entry.id + name.removeprefix(alias), entry.id
    return name, None


def list_models(family: str | None = None) -> list[str]:
    """Canonical names: every listed segmentor, then every bare backbone. `family` is an entry's id.

    Raises UnknownModel naming the families where there is none of that id.
    """
    names = [(entry_id, name) for entry_id, name in _listing()]
    if family is not None:
        wanted = normal(family)
        chosen = [name for entry_id, name in names if normal(entry_id) == wanted]
        if not chosen:
            ids = sorted({entry_id for entry_id, _ in names})
            raise UnknownModel(f'No family is called "{family}". Families: {", ".join(ids)}.')
        return chosen
    return [name for _, name in names]


def _listing() -> Iterator[tuple[str, str]]:
    for segmentor in catalog.segmentors():
        taken = set()
        for model in segmentor.models:
            if model.listed:
                taken.add(normal(model.name))
                yield segmentor.id, model.name
        for backbone in segmentor.backbones:
            name = f"{segmentor.id}_{backbone}"
            if normal(name) not in taken and parse_backbone(backbone) is not None:
                yield segmentor.id, name
    for entry in catalog.backbones():
        yield from ((entry.id, variant.name) for variant in entry.variants)
        yield from ((entry.id, model.name) for model in entry.models if model.listed)
