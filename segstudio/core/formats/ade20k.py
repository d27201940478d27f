"""ADE20K scene parsing: PNG with 0 = other objects and 1-150 = the classes.

The shift by one is the format's, stated here and in a note of every import: class n of the list is pixel
value n + 1, value 0 becomes unlabelled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from segstudio.core import atomic_file, palette_png
from segstudio.core.errors import UserError
from segstudio.core.formats import index_pictures
from segstudio.core.formats.exchange import (
    ClassNumbers,
    Imported,
    Labels,
    LeftOut,
    Note,
    SizeOf,
    output_path,
    plain,
)
from segstudio.core.label_map import ignore_value
from segstudio.core.records import LabelClass
from segstudio.core.taxonomies import load_taxonomy


def ade20k_classes() -> tuple[LabelClass, ...]:
    """The 150 classes, numbered from 0."""
    entries = enumerate(load_taxonomy("ade20k").classes)
    return tuple(LabelClass(index, entry.name, entry.color) for index, entry in entries)


def read(source: Path, *, classes: Sequence[LabelClass] = (), size_of: SizeOf | None = None) -> Imported:
    """Reads a folder of label pictures; classes are matched by name, missing ones are added."""
    numbers = ClassNumbers(classes)
    own = [numbers.number(entry.name, wanted=entry.id, color=entry.color) for entry in ade20k_classes()]
    values = {value: -1 for value in range(255)} | {index + 1: number for index, number in enumerate(own)}
    found = index_pictures.read(source, classes=numbers.classes, size_of=size_of, values=values)
    found.notes.append(Note(source.name, "value n means class n - 1 of ADE20K's list, 0 is unlabelled"))
    return Imported(numbers, found.items, found.notes)


def write(target: Path, classes: Sequence[LabelClass], items: Iterable[Labels]) -> list[Note]:
    """Writes PNGs with values 1-150 by class name; other classes are told and written as 0.

    Raises UserError where no class of the project is one of ADE20K.
    """
    own = {plain(entry.name): entry.id for entry in ade20k_classes()}
    values = {entry.id: own.get(plain(entry.name), -1) for entry in classes}
    if all(value < 0 for value in values.values()):
        raise UserError("No class of the project is named like one of ADE20K", action="Rename the classes.")
    palette = [(0, 0, 0), *index_pictures.palette_of(ade20k_classes())]
    left_out = LeftOut([entry for entry in classes if values[entry.id] < 0], "ADE20K")
    notes: list[Note] = []
    for item in items:
        known = left_out.without(item.array)
        array = index_pictures.mapped(known, ClassNumbers(ade20k_classes()), values, item.image, notes)
        shifted = np.where(array == ignore_value(array.dtype), 0, array + 1).astype(np.uint8)
        path = output_path(target, item.image, ".png")
        atomic_file.write_bytes(path, palette_png.encode(shifted, palette))
    return [*left_out.notes(), *notes]
