"""What the entry point "segstudio.plugins" names: segmentors and ways of pre-training, without torch."""

from __future__ import annotations

from collections.abc import Mapping

from segstudio.plugin_api import ModelSpec, Option, Plugin
from segstudio_zoo import catalog
from segstudio_zoo.catalog.entry import SegmentorEntry
from segstudio_zoo.catalog.pretraining import SPECS
from segstudio_zoo.catalog.published import checkpoints_of
from segstudio_zoo.names import Resolved, UnknownModel, list_models, parse_backbone, resolve

NAME = "segstudio_zoo"

_COMMON = (
    Option("align_corners", "bool", False, "resize with aligned corners (the 769x769 configurations)"),
)


def _spec(entry: SegmentorEntry, name: str) -> ModelSpec:
    found = resolve(name)
    settings = found.settings
    options = tuple(
        _with_default(option, settings.get(option.name, option.default))
        for option in (*entry.options, *found.backbone.options_of(found.variant), *_COMMON)
    )
    values = {option.name: option.default for option in options}
    absent = absent_parts(entry, values)
    outputs = tuple(output for output in _side_outputs(entry, options) if output not in absent)
    classes = settings.get("num_classes")
    preprocess = found.model.preprocess if found.model and found.model.preprocess else entry.preprocess
    return ModelSpec(
        id=f"{NAME}/{name}",
        title=_title(entry, found),
        family=entry.id,
        paper=entry.paper.address,
        year=entry.paper.year,
        build="segstudio_zoo:create_model",
        options=tuple({option.name: option for option in reversed(options)}.values())[::-1],
        checkpoints=checkpoints_of(name),
        probes=tuple(probe for probe in (*entry.probes, *found.backbone.probes) if probe.id not in absent),
        switches=tuple(
            switch for switch in (*entry.switches, *found.backbone.switches) if switch.id not in absent
        ),
        side_outputs=outputs,
        optional_outputs=tuple(output for output in entry.side_outputs if output not in outputs),
        min_size=max(entry.min_size, found.backbone.min_size),
        size_divisor=max(entry.size_divisor, found.backbone.size_divisor),
        num_classes=classes if isinstance(classes, int) else None,
        preprocess=preprocess,
        backbone=found.variant.name,
        search_aliases=(*entry.search_aliases, *found.backbone.search_aliases, *entry.aliases),
        trainable=True,
        system=entry.title,
        paper_title=entry.paper.title,
        authors=entry.paper.authors,
        venue=entry.paper.venue,
        parts=(*entry.parts, *found.backbone.parts),
    )


def absent_parts(entry: SegmentorEntry, values: Mapping[str, object]) -> set[str]:
    """Probes, switches and side outputs of `entry` that a model built with these option values lacks."""
    wanted: dict[tuple[str, str], list[object]] = {}
    for part, option, value in entry.only_with:
        wanted.setdefault((part, option), []).append(value)
    return {part for (part, option), known in wanted.items() if values[option] not in known}


def _with_default(option: Option, default: object) -> Option:
    if default == option.default:
        return option
    assert default is None or isinstance(default, bool | int | float | str | tuple)
    return Option(
        option.name, option.kind, default, option.help, option.choices, option.minimum, option.maximum
    )


# how backbones are written in titles: the beginning of their name -> what a reader knows
_WRITTEN = (
    ("mobilenet-v2", "MobileNetV2"),
    ("mobilenet-v3", "MobileNetV3"),
    ("convnextv2", "ConvNeXtV2"),
    ("convnext", "ConvNeXt"),
    ("xception", "Xception"),
    ("mscan", "MSCAN"),
    ("beit", "BEiT"),
    ("deit", "DeiT"),
    ("mae", "MAE"),
    ("mit", "MiT"),
    ("vit", "ViT"),
    ("hr", "HR"),
    ("r", "R"),
    ("s", "S"),
)


def _title(entry: SegmentorEntry, found: Resolved) -> str:
    """ "CCNet · R50", "DeepLabV3 · MobileNetV2 /16": the stride is said where it is not the usual one."""
    short = found.variant.segmentor_suffix
    for beginning, written in _WRITTEN:
        if short.startswith(beginning):
            short = written + short.removeprefix(beginning)
            break
    usual = f"{entry.id}_{found.variant.segmentor_suffix}-d8"
    unusual = found.output_stride == 16 or (found.output_stride == 32 and usual in list_models(entry.id))
    stride = f" /{found.output_stride}" if unusual else ""
    if found.name == entry.id or found.variant.name.startswith(entry.id):
        return entry.title + found.name.removeprefix(entry.id).replace("-", " ")
    words = found.name.removeprefix(entry.id).split("_")[1:]
    forms = [word for word in words if parse_backbone(word) is None]  # "mask" of "segmenter_vit-t_mask"
    titles = {other.id: other.title for other in catalog.segmentors()}
    return f"{entry.title} · {short}{stride}" + "".join(f", {titles.get(form, form)}" for form in forms)


def _side_outputs(entry: SegmentorEntry, options: tuple[Option, ...]) -> tuple[str, ...]:
    if any(option.name == "auxiliary" and option.default is False for option in options):
        return tuple(name for name in entry.side_outputs if not name.startswith("auxiliary"))
    return entry.side_outputs


def _plugin() -> Plugin:
    models: list[ModelSpec] = []
    notes: list[str] = []
    for entry in catalog.segmentors():
        for name in list_models(entry.id):
            try:
                models.append(_spec(entry, name))
            except UnknownModel as error:
                notes.append(f"{name} is not offered: {error}")
    return Plugin(
        name=NAME,
        title="SegStudio zoo",
        models=tuple(models),
        version="1",
        identify="segstudio_zoo:identify",
        load="segstudio_zoo:load_checkpoint",
        notes=tuple(notes),
        pretraining=SPECS,
    )


PLUGIN: Plugin = _plugin()

__all__ = ["NAME", "PLUGIN"]
