"""Writes one documentation page a system from the catalog: `python -m segstudio_zoo.catalog.pages [FOLDER]`.

The folder is `docs/systems` unless given. Pages are generated, never edited: facts live in the catalog.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from segstudio.plugin_api import Option, PretrainingSpec, ProbeSpec, SwitchSpec
from segstudio_zoo import catalog
from segstudio_zoo.catalog.entry import BackboneEntry, Entry, SegmentorEntry
from segstudio_zoo.catalog.losses import LOSSES, PRETRAINING, RECIPES, LossFact, RecipeFact
from segstudio_zoo.catalog.pretraining import specs_of
from segstudio_zoo.catalog.published import Published, published
from segstudio_zoo.names import list_models

SURVEY = (
    (
        "PsNet",
        "PSANet",
        "A shortened name; the system is the point-wise spatial attention network.",
    ),
    ("PointNet", "PointRend", "PointNet classifies point clouds; what is described is PointRend."),
    ("SegFormer (its number 18)", "Segmenter", "The text and figure of that entry describe Segmenter."),
    (
        "ANN samples key and query",
        "ANN",
        "The paper samples keys and values; queries stay at every cell.",
    ),
    ("Segmenter has N classes", "Segmenter", "N is the number of patches, K the number of classes."),
    (
        "SegNeXt's encoder and decoder",
        "SegNeXt",
        "The caption of its figure swaps the two.",
    ),
    ("ConvNeXt's stage ratio", "ConvNeXt", "The ratio 1:1:3:1 is taken over from Swin Transformer."),
    ("MAE masks 80 %", "MAE", "The paper's default is 75 %."),
)
"""(what the survey says, what is meant, why)."""


def page(entry: Entry) -> str:
    """The page of one system as Markdown."""
    lines = [f"# {entry.title}", "", *_paper(entry), ""]
    lines += _list("Parts", entry.parts)
    lines += _names(entry)
    lines += _options(entry.options)
    if isinstance(entry, SegmentorEntry):
        lines += _losses("Losses", LOSSES[entry.id])
        lines += _recipes(list_models(entry.id)[0], RECIPES.get(entry.id, ()))
    else:
        lines += _pretraining(specs_of(entry.id))
        lines += _losses("Losses of pre-training", PRETRAINING.get(entry.id, ()))
    lines += _probes(entry.probes)
    lines += _switches(entry.switches)
    if isinstance(entry, SegmentorEntry):
        lines += _list("Side outputs", entry.side_outputs)
        if entry.expects:
            lines += ["## Backbones", "", entry.expects, ""]
    lines += _layouts(entry)
    lines += _list("What to look at", entry.look_at)
    lines += _list("Where this differs from the paper", entry.deviations)
    if isinstance(entry, SegmentorEntry):
        lines += _checkpoints(set(list_models(entry.id)))
    return "\n".join(lines).rstrip() + "\n"


def _paper(entry: Entry) -> Iterator[str]:
    paper = entry.paper
    yield f"{paper.authors}: *{paper.title}*. {paper.venue} {paper.year}."
    if paper.address:
        yield f"<{paper.address}>"
    if entry.search_aliases:
        yield ""
        yield f"Also found as: {', '.join(entry.search_aliases)}."
    if entry.reference_checked:
        yield ""
        yield "The tests compare outputs and key layout of this family with a reference implementation."


def _list(title: str, items: Sequence[str]) -> list[str]:
    return [f"## {title}", "", *(f"- {item}" for item in items), ""] if items else []


def _names(entry: Entry) -> list[str]:
    names = [f"`{name}`" for name in list_models(entry.id)]
    lines = ["## Names", "", ", ".join(names), ""]
    if isinstance(entry, BackboneEntry) and entry.output_strides:
        strides = ", ".join(map(str, entry.output_strides))
        lines += [
            f"Output strides {strides}: append `-d8` and the like; none means 32 where there is one.",
            "",
        ]
    return lines


def _layouts(entry: Entry) -> list[str]:
    """Whose names of weights the network file knows; only here does the catalog need torch."""
    from segstudio_zoo.key_map import OWN_LAYOUT, key_maps

    known = dict.fromkeys(key_map.layout for key_map in key_maps(entry.build.partition(":")[0]))
    own = "SegStudio's own and those of mmsegmentation 1.x and 0.x"
    others = ", ".join(layout for layout in known if layout != OWN_LAYOUT)
    text = f"Names of weights that are read: {own}{f'; {others}' if others else ''}."
    return ["## Weights", "", text, ""]


def _options(options: Sequence[Option]) -> list[str]:
    if not options:
        return []
    lines = ["## Options", "", "| option | default | meaning |", "| --- | --- | --- |"]
    lines += [f"| `{option.name}` | {_value(option.default)} | {_meaning(option)} |" for option in options]
    return [*lines, ""]


def _meaning(option: Option) -> str:
    choices = f" ({', '.join(map(_value, option.choices))})" if option.choices else ""
    return f"{option.help}{choices}"


def _pretraining(specs: Sequence[PretrainingSpec]) -> list[str]:
    if not specs:
        return []
    lines = [
        "## Pre-training",
        "",
        "From pictures without labels, in the Train tab or by "
        f"`segstudio train --pretrain {specs[0].name} --images FOLDER --out RUN`:",
        "",
        "| name | starts | learning rate |",
        "| --- | --- | --- |",
    ]
    for spec in specs:
        starts = ", ".join(f"`{name}`" for name in spec.backbones) or "BEiT, as its tokenizer"
        lines.append(f"| `{spec.name}` | {starts} | {spec.rate:g} |")
    lines += ["", "| name | option | default | meaning |", "| --- | --- | --- | --- |"]
    rows: dict[tuple[str, str, str], list[str]] = {}
    for spec in specs:
        for option in spec.options:
            default = "none" if option.default is None else _value(option.default)
            key = (option.name, default, _meaning(option))
            rows.setdefault(key, []).append(f"`{spec.name}`")
    for (name, default, meaning), owners in rows.items():
        given = "all" if len(owners) == len(specs) else ", ".join(owners)
        lines.append(f"| {given} | `{name}` | {default} | {meaning} |")
    return [*lines, ""]


def _losses(title: str, losses: Sequence[LossFact]) -> list[str]:
    if not losses:
        return []
    lines = [f"## {title}", "", "| loss | weight | what it compares | with |", "| --- | --- | --- | --- |"]
    for loss in losses:
        needs = "" if loss.needs is None else f"`{loss.needs[0]}` {_value(loss.needs[1])}"
        lines.append(f"| `{loss.name}` | {loss.weight:g} | {loss.meaning} | {needs} |")
    return [*lines, ""]


def _recipes(name: str, recipes: Sequence[RecipeFact]) -> list[str]:
    lines = ["## Training", ""] if recipes else []
    for recipe in recipes:
        flags = " ".join(f"--{field.replace('_', '-')} {value:g}" for field, value in recipe.values)
        lines += [f"**{recipe.title}**: {recipe.meaning}.", ""]
        lines += ["```", f"segstudio train --model {name} {flags} --images … --labels … --out …", "```", ""]
    return lines


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if value is None:
        return "by name"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _probes(probes: Sequence[ProbeSpec]) -> list[str]:
    if not probes:
        return []
    lines = ["## Attention", "", "| probe | asked with | shows |", "| --- | --- | --- |"]
    lines += [f"| {probe.title} (`{probe.id}`) | {probe.query} | {probe.help} |" for probe in probes]
    if any(probe.options for probe in probes):
        lines += ["", "| probe | option | default | meaning |", "| --- | --- | --- | --- |"]
    for probe in probes:
        lines += [
            f"| `{probe.id}` | `{option.name}` | {_chosen(option)} | {_meaning(option)} |"
            for option in probe.options
        ]
    return [*lines, ""]


def _chosen(option: Option) -> str:
    """A probe's option without a default is one that a person gives or leaves out."""
    return "none" if option.default is None else _value(option.default)


def _switches(switches: Sequence[SwitchSpec]) -> list[str]:
    if not switches:
        return []
    lines = ["## Switches", "", "| switch | choices | as trained |", "| --- | --- | --- |"]
    for switch in switches:
        choices = ", ".join(map(_value, switch.choices)) + (", every class" if switch.per_class else "")
        lines.append(f"| {switch.title} (`{switch.id}`) | {choices} | {_value(switch.trained)} |")
    return [*lines, ""]


def _checkpoints(names: set[str]) -> list[str]:
    rows = [item for item in published() if item.model in names]
    if not rows:
        return []
    lines = [
        "## Published checkpoints",
        "",
        "As their publisher lists them; licence not stated by the list. "
        '"Layout" says with which implementation of the configuration the network\'s keys and outputs were '
        "compared; the files themselves were not.",
        "",
        "| checkpoint | data set | mIoU | multi-scale, flipped | layout |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [_checkpoint_row(item) for item in rows]
    return [*lines, ""]


def _checkpoint_row(item: Published) -> str:
    flipped = "" if item.miou_ms_flip is None else f"{item.miou_ms_flip:g}"
    checked = item.compared_with or "not compared"
    return f"| [{item.name}]({item.url}) | {item.dataset} | {item.miou:g} | {flipped} | {checked} |"


def survey_page() -> str:
    """The page about what a survey of these systems has otherwise than their papers."""
    lines = [
        "# Where the survey differs from the papers",
        "",
        "The list of systems follows a survey. Where its text and a paper disagree, the paper (or, for "
        "defaults, the published weights) decides here; the survey's names work as search words.",
        "",
        "| in the survey | here | what is right |",
        "| --- | --- | --- |",
        *(f"| {said} | {meant} | {why} |" for said, meant, why in SURVEY),
        "",
        "## Where published code differs from the paper",
        "",
        "Published weights decide the default; the paper's way is an option where one is named.",
        "",
    ]
    for entry in catalog.entries():
        lines += [f"- **{entry.title}**: {sentence}" for sentence in entry.deviations]
    return "\n".join(lines).rstrip() + "\n"


def index_page() -> str:
    """The list of all systems with their papers."""
    lines = ["# Systems", "", "Generated from the catalog by `python -m segstudio_zoo.catalog.pages`.", ""]
    for title, entries in (("Segmentors", catalog.segmentors()), ("Backbones", catalog.backbones())):
        lines += [f"## {title}", "", "| system | year | paper |", "| --- | --- | --- |"]
        lines += [
            f"| [{entry.title}]({file_name(entry)}) | {entry.paper.year} | {entry.paper.title} |"
            for entry in sorted(entries, key=lambda item: item.title.lower())
        ]
        lines.append("")
    lines.append("See also [where the survey differs from the papers](survey.md).")
    return "\n".join(lines) + "\n"


def file_name(entry: Entry) -> str:
    """Backbones and segmentors of one id have pages of their own."""
    both = isinstance(entry, BackboneEntry) and any(s.id == entry.id for s in catalog.segmentors())
    return f"{entry.id}{'-backbone' if both else ''}.md"


def write_pages(folder: Path) -> list[Path]:
    """Writes all pages into `folder` and gives their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {file_name(entry): page(entry) for entry in catalog.entries()}
    pages |= {"index.md": index_page(), "survey.md": survey_page()}
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in pages]


if __name__ == "__main__":
    for path in write_pages(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/systems")):
        print(path)
