"""Folders of label pictures: one class index a pixel, as palette or grey PNG, 16-bit PNG, TIFF or NPY.

The picture's path without suffix is the image's. Values without a class get one of their own ("class 7"),
so that nothing is shifted or dropped; 255 (65535 in 16 bits) is unlabelled.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tifffile

from segstudio.core import atomic_file, palette_png
from segstudio.core.errors import UserError
from segstudio.core.formats.exchange import (
    ClassNumbers,
    Imported,
    Labels,
    Note,
    SizeOf,
    output_path,
    relative,
    size_of_image,
)
from segstudio.core.label_map import LabelArray, converted, ignore_value
from segstudio.core.label_pictures import SUFFIXES, read_label_picture
from segstudio.core.records import LabelClass, printable

KINDS = ("png", "png16", "tiff", "npy")
_SUSPICIOUS = 0.2
"""A data set of 0 and 255 alone, with more than this share of 255, probably means 255 as a class."""

_REFUSED = frozenset([".jpg", ".jpeg"])


def read(
    source: Path,
    *,
    classes: Sequence[LabelClass] = (),
    size_of: SizeOf | None = None,
    values: Mapping[int, int] | None = None,
    endings: Sequence[str] = (),
) -> Imported:
    """Reads a picture or all of a folder.

    `values` maps stored values to class numbers or to -1 (unlabelled); values it lacks stay as they are.
    `endings` are endings of names to drop ("_gtFine_labelIds"). Raises UserError where there is no picture.
    """
    if source.is_file():
        paths = [source]
    else:
        wanted = SUFFIXES | _REFUSED
        paths = sorted(path for path in source.rglob("*") if path.suffix.lower() in wanted and path.is_file())
        paths = [path for path in paths if not endings or path.stem.endswith(tuple(endings))]
    if not paths:
        raise UserError("There is no label picture", where=f"in {printable(str(source))}")
    numbers = ClassNumbers(classes)
    result = Imported(numbers, iter(()))
    result.items = _read_all(paths, source, numbers, size_of, values or {}, endings, result.notes)
    return result


def _read_all(
    paths: list[Path],
    source: Path,
    numbers: ClassNumbers,
    size_of: SizeOf | None,
    values: Mapping[int, int],
    endings: Sequence[str],
    notes: list[Note],
) -> Iterator[Labels]:
    only_zero, zeros, total = True, 0, 0
    for path in paths:
        name = relative(path, source)
        try:
            stored = read_label_picture(path)
        except UserError as error:
            notes.append(Note(name, str(error)))
            continue
        stem = name[: -len(path.suffix)]
        for ending in endings:
            stem = stem.removesuffix(ending)
        actual = size_of_image(size_of, stem)
        height, width = stored.shape
        if actual is not None and actual != (width, height):
            what = f"it is {width}x{height}, its picture {actual[0]}x{actual[1]}: left out"
            notes.append(Note(name, what))
            continue
        if only_zero:
            black = int(np.count_nonzero(stored == 0))
            only_zero = black + int(np.count_nonzero(stored == 255)) == stored.size
            zeros, total = zeros + black, total + stored.size
        yield Labels(stem, mapped(stored, numbers, values, name, notes))
    if only_zero and zeros and total - zeros > _SUSPICIOUS * total and 255 not in values:
        what = "all pictures hold 0 and 255 alone; 255 counted as unlabelled: if it is a class, map it to one"
        notes.append(Note(printable(source.name), what))


def mapped(
    stored: LabelArray, numbers: ClassNumbers, values: Mapping[int, int], name: str, notes: list[Note]
) -> LabelArray:
    """`stored` with values replaced as `values` says and a class for every value that is left."""
    counts = np.bincount(stored.ravel(), minlength=1)
    unlabelled = ignore_value(stored.dtype)
    occurring = [value for value in np.flatnonzero(counts).tolist() if value != unlabelled or value in values]
    table = np.arange(len(counts), dtype=np.int64)
    known = {entry.id for entry in numbers.classes}
    dropped = 0
    for value in occurring:
        target = values.get(value, value)
        if target < 0:
            dropped += int(counts[value])
            table[value] = -1
            continue
        table[value] = target
        if target not in known:
            if target == 255:
                notes.append(Note(name, "the value 255 counts as unlabelled"))
                table[value] = -1
                continue
            numbers.number(f"class {target}", wanted=target)
            known.add(target)
            notes.append(
                Note(name, f"value {value} ({int(counts[value])} px) has no class yet; one was added")
            )
    if dropped:
        notes.append(Note(name, f"{dropped} px have values without a class here and became unlabelled"))
    if unlabelled < len(table) and unlabelled not in values:
        table[unlabelled] = -1
    largest = int(table.max(initial=0))
    dtype: type[np.uint8] | type[np.uint16] = np.uint8 if largest < 255 else np.uint16
    table[table < 0] = ignore_value(dtype)
    result: LabelArray = table.astype(dtype)[stored]
    return result


def write(
    target: Path, classes: Sequence[LabelClass], items: Iterable[Labels], *, kind: str = "png"
) -> list[Note]:
    """Writes one picture an image below `target`. Of a palette PNG, classes above 254 need "png16".

    A class list lies beside them as classes.txt, line number = class number. Raises OSError, UserError.
    """
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is none of {KINDS}")
    palette = palette_of(classes)
    suffix = {"png": ".png", "png16": ".png", "tiff": ".tif", "npy": ".npy"}[kind]
    for item in items:
        path = output_path(target, item.image, suffix)
        atomic_file.write_bytes(path, _encoded(item.array, palette, kind))
    write_class_list(target, classes)
    return []


def _encoded(array: LabelArray, palette: list[tuple[int, int, int]], kind: str) -> bytes:
    if kind == "png16":
        return palette_png.encode(converted(array, np.uint16))
    if kind == "png":
        return palette_png.encode(array, palette)
    buffer = io.BytesIO()
    if kind == "npy":
        np.save(buffer, array, allow_pickle=False)
    else:
        tifffile.imwrite(buffer, array, photometric="minisblack", compression="zlib")
    return buffer.getvalue()


def palette_of(classes: Sequence[LabelClass]) -> list[tuple[int, int, int]]:
    """A colour for each index up to the largest class number."""
    palette = [palette_png.UNLABELLED_COLOR] * (max((entry.id for entry in classes), default=-1) + 1)
    for entry in classes:
        palette[entry.id] = entry.color
    return palette


def write_class_list(target: Path, classes: Sequence[LabelClass]) -> None:
    """classes.txt: the name of class n in line n + 1; numbers without a class have an empty line."""
    names = {entry.id: entry.name for entry in classes}
    lines = [names.get(index, "") for index in range(max(names, default=-1) + 1)]
    target.mkdir(parents=True, exist_ok=True)
    atomic_file.write_bytes(target / "classes.txt", ("\n".join(lines) + "\n").encode("utf-8"))
