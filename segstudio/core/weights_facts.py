"""What a file of weights says about itself, read without loading it: for which model, classes, preprocessing.

The facts are one JSON object, in `<file>.json` beside the weights (`x.json` or `x.safetensors.json`) or
as the entry "segstudio" of a safetensors header; the file beside it wins, field by field:

    {"model": "segstudio_zoo/ccnet_r50-d8", "title": "...", "num_classes": 11, "options": {...},
     "mean": [r, g, b], "std": [r, g, b], "classes": [{"name": "Sky", "color": [90, 218, 247]}, ...]}

`mean` and `std` are on the 0-255 scale. Every field may be missing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segstudio.core.errors import UserError
from segstudio.plugin_api import Preprocess, TaxonomyClass

METADATA_KEY = "segstudio"
_MOST_HEADER_BYTES = 64 * 2**20
_MOST_SIDECAR_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class WeightsFacts:
    """`preprocess_source` says where `preprocess` was found: "file beside", "safetensors header" or ""."""

    model: str = ""
    title: str = ""
    num_classes: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    preprocess: Preprocess | None = None
    preprocess_source: str = ""
    classes: tuple[TaxonomyClass, ...] = ()


def read_facts(path: Path) -> WeightsFacts:
    """The facts about one file of weights, empty where there are none. Raises UserError where broken."""
    header = _header_document(path) if path.suffix == ".safetensors" else {}
    beside = _beside_document(path)
    merged = {**header, **beside}
    source = ""
    if "mean" in beside and "std" in beside:
        source = "file beside"
    elif "mean" in merged and "std" in merged:
        source = "safetensors header"
    try:
        return _facts(merged, source)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise UserError(
            "The facts kept with these weights cannot be understood",
            where=f"({path.name})",
            action="Correct or remove the .json file beside it",
            details=repr(error),
        ) from error


def facts_document(facts: WeightsFacts) -> dict[str, Any]:
    """The JSON object that `read_facts` reads."""
    document: dict[str, Any] = {"model": facts.model, "title": facts.title, "options": dict(facts.options)}
    if facts.num_classes is not None:
        document["num_classes"] = facts.num_classes
    if facts.preprocess is not None:
        document["mean"] = list(facts.preprocess.mean)
        document["std"] = list(facts.preprocess.std)
    if facts.classes:
        document["classes"] = [{"name": entry.name, "color": list(entry.color)} for entry in facts.classes]
    return document


def safetensors_metadata(facts: WeightsFacts) -> dict[str, str]:
    """What to hand to safetensors as metadata, so that the file carries its facts."""
    return {"format": "pt", METADATA_KEY: json.dumps(facts_document(facts))}


def _facts(document: Mapping[str, Any], source: str) -> WeightsFacts:
    preprocess = None
    if source:
        preprocess = Preprocess(_triple(document["mean"]), _triple(document["std"]))
        if min(preprocess.std) <= 0:
            raise ValueError(f"std {preprocess.std} is not positive")
    classes = []
    for index, entry in enumerate(document.get("classes", ())):
        named: dict[str, Any] = {"name": entry} if isinstance(entry, str) else entry
        red, green, blue = map(int, named.get("color", (0, 0, 0)))
        classes.append(TaxonomyClass(str(named.get("name", index)), (red, green, blue)))
    number = document.get("num_classes", len(classes) or None)
    return WeightsFacts(
        model=str(document.get("model", "")),
        title=str(document.get("title", "")),
        num_classes=None if number is None else int(number),
        options=dict(document.get("options", {})),
        preprocess=preprocess,
        preprocess_source=source,
        classes=tuple(classes),
    )


def _triple(values: Any) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third


def _header_document(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > _MOST_HEADER_BYTES:
                return {}
            header = json.loads(file.read(length))
        document = json.loads(header["__metadata__"][METADATA_KEY])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}  # whoever loads the tensors says what is wrong with the file
    return document if isinstance(document, dict) else {}


def _beside_document(path: Path) -> dict[str, Any]:
    for candidate in (path.with_name(path.name + ".json"), path.with_suffix(".json")):
        try:
            if candidate == path or not candidate.is_file():
                continue
            with candidate.open("rb") as file:
                document = json.loads(file.read(_MOST_SIDECAR_BYTES))
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(
                "The file beside the weights cannot be read",
                where=f"({candidate.name})",
                action="Correct or remove it",
                details=str(error),
            ) from error
        if isinstance(document, dict):
            return document
    return {}
