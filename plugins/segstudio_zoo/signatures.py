"""What tells networks apart by their state dicts, written down so that nothing has to be built to ask.

`signatures.json` holds, of every listed name, a digest of its keys and one of its backbone's shapes, and of
every segmentor and backbone the key patterns that its named models and each of its declared options can
bring ("all"), and those that none of them lacks ("core"). A state dict that equals a listed network is found
at once; only others need networks built and compared.

    python -m segstudio_zoo.signatures      writes the file anew, after networks or names have changed
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from segstudio.plugin_api import Option
from segstudio.plugin_api.specs import OptionValue
from segstudio_zoo import catalog
from segstudio_zoo.catalog.entry import BackboneEntry, Entry, SegmentorEntry
from segstudio_zoo.names import list_models, resolve

FILE = Path(__file__).with_name("signatures.json")

TABLES = r"(.*\.)?(pos_embed|relative_position_bias_table)"
"""Tables that take any length (`tables_of_any_size` of modules): their shapes tell nothing."""

_UNTOLD = ("num_batches_tracked", "relative_position_index")

Shapes = Mapping[str, Sequence[int]]


@cache
def _pattern(key: str) -> str:
    return re.sub(r"\d+", "#", key)


def patterns(keys: Iterable[str]) -> set[str]:
    """`keys` with every number replaced by "#", counters apart."""
    return {_pattern(key) for key in keys if not key.endswith("num_batches_tracked")}


def _digest(items: Iterable[str]) -> str:
    return f"{zlib.crc32(chr(10).join(sorted(items)).encode()):08x}"


def keys_digest(shapes: Shapes) -> str:
    """Of a segmentor's or backbone's own keys, without auxiliary heads, counters and index tables."""
    return _digest(k for k in shapes if not k.endswith(_UNTOLD) and not k.startswith("auxiliary_head."))


def trunk_digest(shapes: Shapes) -> str:
    """Of the backbone's keys and shapes: no class number, no table of any size in it."""
    trunk = [key for key in shapes if key.startswith("backbone.")] or list(shapes)
    told = (key for key in trunk if not key.endswith(_UNTOLD) and not re.fullmatch(TABLES, key))
    return _digest(f"{key} {tuple(shapes[key])}" for key in told)


@cache
def _stored() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(FILE.read_text())
    return content


@cache
def _by_digests() -> dict[tuple[str, str], tuple[str, ...]]:
    table: dict[tuple[str, str], tuple[str, ...]] = {}
    for name, (keys, trunk) in _stored()["models"].items():
        table[keys, trunk] = (*table.get((keys, trunk), ()), name)
    return table


def listed_like(shapes: Shapes) -> tuple[str, ...]:
    """The listed names whose keys and backbone shapes are those of `shapes`, in listed order."""
    return _by_digests().get((keys_digest(shapes), trunk_digest(shapes)), ())


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Key patterns that a family's forms have, and those common to all of them."""

    patterns: frozenset[str]
    core: frozenset[str]

    def speaks(self, given: Collection[str], known: float = 0.8, common: float = 0.6) -> bool:
        """Whether nearly all of `given` are patterns of the family, and most of the core is there."""
        if not given or len(self.patterns.intersection(given)) < known * len(given):
            return False
        return len(self.core.intersection(given)) >= common * len(self.core)


@cache
def head_vocabulary(segmentor_id: str) -> Vocabulary:
    """Of a family's keys outside the backbone and auxiliary heads."""
    return _vocabulary(_stored()["heads"][segmentor_id])


@cache
def trunk_vocabulary(backbone_id: str) -> Vocabulary:
    """Of a bare backbone's keys."""
    return _vocabulary(_stored()["trunks"][backbone_id])


def _vocabulary(stored: Mapping[str, Sequence[str]]) -> Vocabulary:
    core = frozenset(stored["core"])
    return Vocabulary(core | frozenset(stored["more"]), core)


def trunk_size(variant: str) -> int:
    """How many keys the bare backbone has, counters apart."""
    size: int = _stored()["sizes"][variant]
    return size


def trial_values(option: Option) -> tuple[OptionValue, ...]:
    """Values of an option that may change a network's keys: every choice, the ends of a small range."""
    if option.kind == "bool":
        return (False, True)
    if option.kind == "choice":
        return option.choices
    if option.kind == "float" and option.default is None:
        return (None, 1.0)
    if option.kind != "int":
        return ()
    low = 0 if option.minimum is None else int(option.minimum)
    if option.maximum is not None and option.maximum - low < 10:
        return tuple(range(low, int(option.maximum) + 1))
    default = option.default if isinstance(option.default, int) else 0
    return tuple(sorted({low, 2 * max(default, low, 1)}))


def declared(entry: Entry) -> str:
    """A digest of the options that may change an entry's keys, as the catalog declares them."""
    return _digest(f"{option.name} {trial_values(option)}" for option in entry.options)


def _core_and_more(forms: Iterator[set[str]]) -> dict[str, list[str]]:
    every = list(forms)
    core = set.intersection(*every)
    return {"core": sorted(core), "more": sorted(set.union(*every) - core)}


def _with_each_option(name: str, options: Iterable[Option]) -> Iterator[Iterable[str]]:
    """The keys of the named network with each value of each option alone, where it can be built."""
    from segstudio_zoo.skeletons import optioned

    for option in options:
        for value in trial_values(option):
            model = optioned(name, {option.name: value}) if value != option.default else None
            if model is not None:
                yield model.state_dict()


def written() -> dict[str, Any]:
    """The file's content, from the networks as they are."""
    from segstudio_zoo.skeletons import skeleton

    models: dict[str, list[str]] = {}
    sizes: dict[str, int] = {}
    for name in list_models():
        shapes = {key: tuple(value.shape) for key, value in skeleton(name).state_dict().items()}
        models[name] = [keys_digest(shapes), trunk_digest(shapes)]
        if resolve(name).segmentor is None:
            sizes[name] = sum(not key.endswith("num_batches_tracked") for key in shapes)

    def smallest(names: Iterable[str]) -> str:
        return min(names, key=lambda name: sizes[resolve(name).variant.name])

    def heads(entry: SegmentorEntry) -> Iterator[set[str]]:
        names = (*list_models(entry.id), *(model.name for model in entry.models if not model.listed))
        on: dict[str, list[str]] = {}
        for name in names:
            on.setdefault(resolve(name).backbone.id, []).append(name)
        forms: list[Iterable[str]] = [skeleton(name).state_dict() for name in names]
        for same_backbone in on.values():
            forms.extend(_with_each_option(smallest(same_backbone), entry.options))
        for keys in forms:
            yield patterns(k for k in keys if not k.startswith(("backbone.", "auxiliary_head.")))

    def trunks(entry: BackboneEntry) -> Iterator[set[str]]:
        names = list_models(entry.id)
        forms: list[Iterable[str]] = [skeleton(name).state_dict() for name in names]
        for keys in (*forms, *_with_each_option(smallest(names), entry.options)):
            yield patterns(keys)

    segmentors, backbones = catalog.segmentors(), catalog.backbones()
    return {
        "models": models,
        "sizes": sizes,
        "heads": {entry.id: _core_and_more(heads(entry)) for entry in segmentors},
        "trunks": {entry.id: _core_and_more(trunks(entry)) for entry in backbones},
        "options": {entry.id: declared(entry) for entry in (*segmentors, *backbones)},
    }


def text(content: Mapping[str, Any]) -> str:
    """`content` as the file has it: an entry a line."""
    parts = (
        f"{json.dumps(key)}: {{\n"
        + ",\n".join(f"  {json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in part.items())
        + "\n}"
        for key, part in content.items()
    )
    return "{" + ",\n ".join(parts) + "}\n"


if __name__ == "__main__":
    FILE.write_text(text(written()))
