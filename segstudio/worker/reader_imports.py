"""Reading label files of other programs, in the reader: the window only sees arrays and words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from segstudio.core.archives import content, is_archive, unpack
from segstudio.core.errors import UserError
from segstudio.core.formats import find_format, load_format
from segstudio.core.formats.exchange import Note
from segstudio.core.images import read_header
from segstudio.core.label_exchange import ImageMatcher
from segstudio.core.records import ImageRecord, LabelClass
from segstudio.worker.control import Control


def import_labels(arguments: dict[str, Any], control: Control) -> Mapping[str, Any]:
    """`format`, `source`, `folder`, `images`, `classes`, `out` -> what was found, one NPY file an image.

    `source` is a file, a folder, or a zip or tar of one, which is unpacked below `out`, a folder of the
    window's. `images` are [id, path, width|null, height|null], `classes` the fields of LabelClass. The
    answer: `items` [id, file], `classes`, `added` (ids), `notes` [file, what].
    """
    folder, out = Path(arguments["folder"]), Path(arguments["out"])
    records = [
        ImageRecord(number, path, "none", width, height, "", "")
        for number, path, width, height in arguments["images"]
    ]
    matcher = ImageMatcher(records)
    sizes: dict[int, tuple[int, int]] = {}

    def size_of(name: str) -> tuple[int, int] | None:
        record = matcher.find(name)
        if record is None:
            return None
        if record.width is not None and record.height is not None:
            return record.width, record.height
        if record.id not in sizes:
            header = read_header(folder / record.path)
            sizes[record.id] = header.width, header.height
        return sizes[record.id]

    source = Path(arguments["source"])
    if is_archive(source):
        packed, source = source, out / "archive"
        source.mkdir()
        unpack(packed, source, check=control.check)
        source = content(source)
    entry = find_format(arguments["format"])
    classes = tuple(LabelClass.from_json(fields) for fields in arguments["classes"])
    found = load_format(entry).read(source, classes=classes, size_of=size_of)
    items: list[tuple[int, str]] = []
    notes = found.notes
    for labels in found.items:
        control.check()
        record = matcher.find(labels.image)
        if record is None:
            notes.append(Note(labels.image, "the project has no image of this name, or several"))
            continue
        try:
            size = size_of(labels.image)
        except UserError as error:
            notes.append(Note(labels.image, str(error)))
            continue
        height, width = labels.array.shape
        if size is not None and size != (width, height):
            notes.append(
                Note(labels.image, f"labels of {width}x{height} for a picture of {size[0]}x{size[1]}")
            )
            continue
        file = out / f"{len(items)}.npy"
        np.save(file, labels.array, allow_pickle=False)
        items.append((record.id, str(file)))
        control.progress(min(1.0, len(items) / max(1, len(records))), labels.image)
    return {
        "items": items,
        "classes": [dataclasses.asdict(entry) for entry in found.classes.classes],
        "added": [entry.id for entry in found.classes.added],
        "notes": [[note.file, note.what] for note in notes],
    }
