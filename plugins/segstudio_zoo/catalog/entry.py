"""The facts of one paper as plain data, without torch: what names, forms, menus and pages are made from.

A catalog file holds one `ENTRY`, a `BackboneEntry` or a `SegmentorEntry` (or `ENTRIES`, a tuple of them,
where one paper brings both). Code is named by strings that only a worker resolves.
"""

from __future__ import annotations

from dataclasses import dataclass

from segstudio.plugin_api import Option, Preprocess, ProbeSpec, SwitchSpec
from segstudio.plugin_api.specs import OptionValue

IMAGENET = Preprocess()
"""ImageNet mean and deviation: what nearly every checkpoint was trained with."""

Settings = tuple[tuple[str, OptionValue], ...]
"""Options as pairs, so that entries stay frozen."""


@dataclass(frozen=True, slots=True)
class Paper:
    """Where a system was published. `arxiv` is the bare number ("1811.11721") or empty."""

    title: str
    authors: str
    venue: str
    year: int
    arxiv: str = ""
    url: str = ""

    @property
    def address(self) -> str:
        return self.url or (f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else "")


@dataclass(frozen=True, slots=True)
class BackboneVariant:
    """One size of a backbone.

    `name` is the canonical name without stride ("mobilenet-v2"); a segmentor on it is called
    "<segmentor>_<short>", `short` being `name` unless given ("r50"). `settings` are options that this
    variant's build gets beside its name.
    """

    name: str
    aliases: tuple[str, ...] = ()
    short: str = ""
    settings: Settings = ()

    @property
    def segmentor_suffix(self) -> str:
        return self.short or self.name


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A name with its own settings: a published configuration, or a reference implementation's model.

    `backbone` may end in "-d8"; it stays empty for a bare backbone's entry where `variant` is meant.
    `listed` says whether `list_models` shows it; otherwise it is an alias only.
    """

    name: str
    backbone: str = ""
    settings: Settings = ()
    aliases: tuple[str, ...] = ()
    preprocess: Preprocess | None = None
    listed: bool = True


@dataclass(frozen=True, slots=True)
class BackboneEntry:
    """A backbone paper.

    `build` ("module:function") is called as `build(variant_name, output_stride=None|8|16|32,
    in_channels=3, **options)`. `output_strides` are those it can be built for: (32,) for a pyramid that
    cannot be dilated, (8, 16, 32) for a residual network, (16,) for a plain transformer with patch 16
    (use () where the notion does not fit: then "-dN" is refused). `only_of`: (option, variant) where no other
    variant has the option.
    """

    id: str
    title: str
    paper: Paper
    build: str
    variants: tuple[BackboneVariant, ...]
    output_strides: tuple[int, ...] = (8, 16, 32)
    models: tuple[NamedModel, ...] = ()
    options: tuple[Option, ...] = ()
    probes: tuple[ProbeSpec, ...] = ()
    switches: tuple[SwitchSpec, ...] = ()
    parts: tuple[str, ...] = ()
    look_at: tuple[str, ...] = ()
    deviations: tuple[str, ...] = ()
    search_aliases: tuple[str, ...] = ()
    only_of: tuple[tuple[str, str], ...] = ()
    min_size: int = 1
    size_divisor: int = 1
    preprocess: Preprocess = IMAGENET
    reference_checked: bool = False

    def options_of(self, variant: BackboneVariant) -> tuple[Option, ...]:
        """The options that `variant` has."""
        owners = dict(self.only_of)
        return tuple(o for o in self.options if owners.get(o.name, variant.name) == variant.name)


@dataclass(frozen=True, slots=True)
class SegmentorEntry:
    """A segmentation paper.

    `build` is called as `build(backbone_module, num_classes=K, align_corners=False, **options)`.
    `backbones` lists the published pairs as written in names ("r50-d8"); the first is the default of the
    bare name. `models` are names with settings of their own ("deeplabv3_mobilenet-v2-d16"). `expects` is
    the sentence shown where a backbone does not suit. `only_with`: (id of a probe, a switch or a side output,
    option, value) where a model has it with that value alone; several values of one option are alternatives,
    several options must all be met. `recipes`: a word that names of published configurations have behind the
    model's ("ade20k"), and the settings that go with it.
    """

    id: str
    title: str
    paper: Paper
    build: str
    backbones: tuple[str, ...]
    models: tuple[NamedModel, ...] = ()
    aliases: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    probes: tuple[ProbeSpec, ...] = ()
    switches: tuple[SwitchSpec, ...] = ()
    side_outputs: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    look_at: tuple[str, ...] = ()
    deviations: tuple[str, ...] = ()
    search_aliases: tuple[str, ...] = ()
    recipes: tuple[tuple[str, Settings], ...] = ()
    only_with: tuple[tuple[str, str, OptionValue], ...] = ()
    expects: str = ""
    min_size: int = 1
    size_divisor: int = 1
    preprocess: Preprocess = IMAGENET
    reference_checked: bool = False


Entry = BackboneEntry | SegmentorEntry
