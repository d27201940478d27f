"""What tells networks apart by their state dicts, written down so that nothing has to be built to ask.

`signatures.json` holds, of every listed name, a digest of its keys and one of its backbone's shapes, and of
every segmentor and backbone the key patterns its forms have. A state dict that equals a listed network is
found at once; only others need networks built and compared.

    python -m segstudio_zoo.signatures      writes the file anew, after networks or names have changed
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from segstudio_zoo import catalog
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


@cache
def head_forms(segmentor_id: str) -> tuple[frozenset[str], ...]:
    """Key patterns outside the backbone and auxiliary heads, of each form that a family's models have."""
    return tuple(frozenset(form) for form in _stored()["heads"][segmentor_id])


@cache
def trunk_forms(backbone_id: str) -> tuple[frozenset[str], ...]:
    """Key patterns of each form that a backbone's variants have."""
    return tuple(frozenset(form) for form in _stored()["trunks"][backbone_id])


def trunk_size(variant: str) -> int:
    """How many keys the bare backbone has, counters apart."""
    size: int = _stored()["sizes"][variant]
    return size


def _distinct(sets: Iterator[set[str]]) -> list[list[str]]:
    found: list[list[str]] = []
    for one in sets:
        form = sorted(one)
        if form not in found:
            found.append(form)
    return found


def written() -> dict[str, Any]:
    """The file's content, from the networks as they are."""
    from segstudio_zoo.identifying import skeleton

    models: dict[str, list[str]] = {}
    sizes: dict[str, int] = {}
    for name in list_models():
        shapes = {key: tuple(value.shape) for key, value in skeleton(name).state_dict().items()}
        models[name] = [keys_digest(shapes), trunk_digest(shapes)]
        if resolve(name).segmentor is None:
            sizes[name] = sum(not key.endswith("num_batches_tracked") for key in shapes)

    def heads(segmentor: str) -> Iterator[set[str]]:
        entry = next(e for e in catalog.segmentors() if e.id == segmentor)
        unlisted = (model.name for model in entry.models if not model.listed)
        for name in (*list_models(segmentor), *unlisted):
            keys = skeleton(name).state_dict()
            yield patterns(k for k in keys if not k.startswith(("backbone.", "auxiliary_head.")))

    def trunks(backbone: str) -> Iterator[set[str]]:
        for name in list_models(backbone):
            yield patterns(skeleton(name).state_dict())

    return {
        "models": models,
        "sizes": sizes,
        "heads": {entry.id: _distinct(heads(entry.id)) for entry in catalog.segmentors()},
        "trunks": {entry.id: _distinct(trunks(entry.id)) for entry in catalog.backbones()},
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
