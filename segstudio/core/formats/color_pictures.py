"""Colour-coded label pictures: the class is told by the colour alone, as in CamVid's originals.

Colours that no class has are counted and told, and their pixels become unlabelled; nothing is rounded to
the nearest colour. JPEG is refused.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from segstudio.core import atomic_file, images
from segstudio.core.errors import UserError
from segstudio.core.formats.exchange import (
    ClassNumbers,
    Imported,
    Labels,
    Note,
    SizeOf,
    files,
    output_path,
    relative,
    size_of_image,
)
from segstudio.core.formats.index_pictures import write_class_list
from segstudio.core.label_map import LabelArray, ignore_value, label_dtype
from segstudio.core.records import LabelClass

UNLABELLED_COLOR = (0, 0, 0)
_TOLD = 5


def read(source: Path, *, classes: Sequence[LabelClass] = (), size_of: SizeOf | None = None) -> Imported:
    """Reads a folder of PNGs by the colours of `classes`. Raises UserError without classes or with two of one
    colour.
    """
    by_color: dict[int, LabelClass] = {}
    for entry in classes:
        other = by_color.setdefault(_packed_color(entry.color), entry)
        if other is not entry:
            raise UserError(
                f'The classes "{other.name}" and "{entry.name}" have one colour',
                action="Give them the colours that the pictures use.",
            )
    if not by_color:
        raise UserError("Colours need classes", action="Make the classes with their colours first.")
    result = Imported(ClassNumbers(classes), iter(()))
    result.items = _read_all(files(source, ".png"), source, by_color, size_of, result.notes)
    return result


def _packed_color(color: tuple[int, int, int]) -> int:
    return color[0] << 16 | color[1] << 8 | color[2]


def _read_all(
    paths: list[Path],
    source: Path,
    by_color: dict[int, LabelClass],
    size_of: SizeOf | None,
    notes: list[Note],
) -> Iterator[Labels]:
    for path in paths:
        name = relative(path, source)
        stem = name[: -len(path.suffix)]
        try:
            header = images.read_header(path)
            if header.format != "PNG":
                raise UserError(f"It is a {header.format}", action="Its colours are not exact.")
            rgb = images.read_rgb(path)
        except UserError as error:
            notes.append(Note(name, str(error)))
            continue
        actual = size_of_image(size_of, stem)
        if actual is not None and actual != (rgb.shape[1], rgb.shape[0]):
            notes.append(
                Note(name, f"it is {rgb.shape[1]}x{rgb.shape[0]}, its picture {actual[0]}x{actual[1]}")
            )
            continue
        yield Labels(stem, _by_color(rgb, by_color, name, notes))


def _by_color(
    rgb: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
    by_color: dict[int, LabelClass],
    name: str,
    notes: list[Note],
) -> LabelArray:
    packed = rgb[..., 0].astype(np.int32) << 16 | rgb[..., 1].astype(np.int32) << 8 | rgb[..., 2]
    colors, inverse, counts = np.unique(packed, return_inverse=True, return_counts=True)
    dtype = label_dtype(max(entry.id for entry in by_color.values()))
    table = np.full(len(colors), ignore_value(dtype), dtype)
    unknown: list[tuple[int, int]] = []
    for position, (color, count) in enumerate(zip(colors.tolist(), counts.tolist(), strict=True)):
        if color in by_color:
            table[position] = by_color[color].id
        elif color != _packed_color(UNLABELLED_COLOR):
            unknown.append((count, color))
    unknown.sort(reverse=True)
    for count, color in unknown[:_TOLD]:
        notes.append(Note(name, f"no class has the colour #{color:06X} ({count} px): unlabelled"))
    if len(unknown) > _TOLD:
        rest = sum(count for count, _ in unknown[_TOLD:])
        notes.append(Note(name, f"{len(unknown) - _TOLD} more colours ({rest} px) have no class"))
    result: LabelArray = table[inverse.reshape(packed.shape)]
    return result


def write(target: Path, classes: Sequence[LabelClass], items: Iterable[Labels]) -> list[Note]:
    """Writes RGB PNGs in the classes' colours; unlabelled pixels are black. Raises OSError, UserError."""
    colors = [entry.color for entry in classes]
    if len(set(colors)) < len(colors) or UNLABELLED_COLOR in colors:
        raise UserError("Two classes have one colour, or one is black", action="Change the colours first.")
    for item in items:
        table = np.zeros((int(np.iinfo(item.array.dtype).max) + 1, 3), np.uint8)
        for entry in classes:
            table[entry.id] = entry.color
        buffer = io.BytesIO()
        Image.fromarray(table[item.array]).save(buffer, "PNG")
        atomic_file.write_bytes(output_path(target, item.image, ".png"), buffer.getvalue())
    write_class_list(target, classes)
    return []
