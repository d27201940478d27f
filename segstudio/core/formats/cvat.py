"""CVAT images XML 1.1: polygons, boxes, ellipses and masks of every image, drawn by their z_order.

A mask holds run lengths inside its box, row by row. Declarations of document types and entities are refused,
and so is anything deep or huge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

import numpy as np

from segstudio.core import atomic_file
from segstudio.core.errors import UserError
from segstudio.core.formats.exchange import (
    ClassNumbers,
    Imported,
    Labels,
    Note,
    SizeOf,
    blank,
    files,
    image_name,
    paint,
    present,
    size_of_image,
)
from segstudio.core.formats.outlines import (
    Mask,
    components,
    ellipse_points,
    polygon_mask,
    rectangle_points,
    turned,
)
from segstudio.core.formats.run_lengths import from_runs, to_runs
from segstudio.core.label_map import LabelArray
from segstudio.core.records import LabelClass, printable

FILE = "annotations.xml"
_LARGEST_FILE = 512 << 20
_DEEPEST = 32
_SHAPES = ("polygon", "box", "ellipse", "mask", "polyline", "points", "cuboid", "skeleton")


def read(source: Path, *, classes: Sequence[LabelClass] = (), size_of: SizeOf | None = None) -> Imported:
    """Reads one XML file, or the first of a folder. Raises UserError where there is none or it is hostile."""
    path = files(source, ".xml")[0]
    numbers = ClassNumbers(classes)
    result = Imported(numbers, iter(()))
    result.items = _labels(_parse(path), path.name, numbers, size_of, result.notes)
    return result


class _Refused(ValueError):
    pass


def _parse(path: Path) -> list[tuple[dict[str, str], list[tuple[str, dict[str, str]]]]]:
    """(attributes of an image, its shapes as (kind, attributes)) of all images."""
    found: list[tuple[dict[str, str], list[tuple[str, dict[str, str]]]]] = []
    stack: list[str] = []
    parser = expat.ParserCreate()

    def refuse(*_: Any) -> int:
        raise _Refused("it declares a document type or entities")

    def start(tag: str, attributes: dict[str, str]) -> None:
        if len(stack) >= _DEEPEST:
            raise _Refused("its elements are nested too deeply")
        if tag == "image" and stack == ["annotations"]:
            found.append((attributes, []))
        elif tag in _SHAPES and stack[:2] == ["annotations", "image"] and len(stack) == 2:
            found[-1][1].append((tag, attributes))
        stack.append(tag)

    def end(tag: str) -> None:
        stack.pop()

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise _Refused("it is too large")
        with path.open("rb") as file:
            parser.ParseFile(file)
    except (OSError, expat.ExpatError, LookupError, ValueError) as error:
        raise UserError(
            f"The XML file cannot be used ({error})", where=f"({printable(str(path))})"
        ) from error
    if not found:
        raise UserError("There are no CVAT images", where=f"in {printable(str(path))}")
    return found


def _labels(
    found: list[tuple[dict[str, str], list[tuple[str, dict[str, str]]]]],
    file: str,
    numbers: ClassNumbers,
    size_of: SizeOf | None,
    notes: list[Note],
) -> Iterator[Labels]:
    for attributes, shapes in found:
        name = image_name(attributes.get("name", ""))
        try:
            width, height = int(attributes["width"]), int(attributes["height"])
            actual = size_of_image(size_of, name)
            if actual is not None and actual != (width, height):
                raise ValueError(f"it is {actual[0]}x{actual[1]}, the file says {width}x{height}")
            array = blank(width, height)
        except (KeyError, ValueError) as error:
            notes.append(Note(name or file, f"it was left out: {error}"))
            continue
        covered = 0
        for kind, shape in sorted(shapes, key=_z_order):
            try:
                mask = _shape_mask(kind, shape, width, height)
            except (KeyError, ValueError) as error:
                notes.append(Note(name, f"a {kind} was left out: {error}"))
                continue
            array, lost = paint(array, mask, numbers.number(shape.get("label", "")))
            covered += lost
        if covered:
            notes.append(Note(name, f"{covered} px belong to several shapes of different classes"))
        yield Labels(name, array)


def _z_order(entry: tuple[str, dict[str, str]]) -> int:
    text = entry[1].get("z_order", "0")
    return int(text) if text.lstrip("-").isdigit() and len(text) < 10 else 0


def _shape_mask(kind: str, shape: dict[str, str], width: int, height: int) -> Mask:
    if kind == "mask":
        return _run_mask(shape, width, height)
    if kind == "polygon":
        pairs = [pair.split(",") for pair in shape["points"].split(";")]
        points = [(_number(x), _number(y)) for x, y in pairs]
    elif kind == "box":
        x0, y0, x1, y1 = (_number(shape[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
        corners = rectangle_points(x0, y0, x1, y1)
        points = turned(corners, ((x0 + x1) / 2, (y0 + y1) / 2), _number(shape.get("rotation", "0")))
    elif kind == "ellipse":
        cx, cy, rx, ry = (_number(shape[key]) for key in ("cx", "cy", "rx", "ry"))
        points = turned(ellipse_points(cx, cy, rx, ry), (cx, cy), _number(shape.get("rotation", "0")))
    else:
        raise ValueError("it covers no area")
    return polygon_mask(width, height, [points], offset=-0.5)


def _number(text: str) -> float:
    value = float(text)
    if not abs(value) < 1e9:
        raise ValueError(f"{text} is out of range")
    return value


def _run_mask(shape: dict[str, str], width: int, height: int) -> Mask:
    left, top, w, h = (int(shape[key]) for key in ("left", "top", "width", "height"))
    if not (left >= 0 and top >= 0 and 0 < w <= width - left and 0 < h <= height - top):
        raise ValueError(f"its box {left},{top} {w}x{h} is not inside the picture")
    runs = [int(part) for part in shape["rle"].split(",")]
    whole = np.zeros((height, width), bool)
    whole[top : top + h, left : left + w] = from_runs(runs, w * h).reshape(h, w)
    return whole


def write(target: Path, classes: Sequence[LabelClass], items: Iterable[Labels]) -> list[Note]:
    """Writes annotations.xml with masks only: every pixel comes back when the file is read again."""
    target.mkdir(parents=True, exist_ok=True)
    with atomic_file.replacing(target / FILE) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n')
        file.write("  <meta><job><labels>\n")
        for entry in classes:
            color = "#{:02x}{:02x}{:02x}".format(*entry.color)
            name = quoteattr(entry.name)[1:-1]
            file.write(f"    <label><name>{name}</name><color>{color}</color></label>\n")
        file.write("  </labels></job></meta>\n")
        for number, item in enumerate(items):
            height, width = item.array.shape
            name = quoteattr(printable(item.image))
            file.write(f'  <image id="{number}" name={name} width="{width}" height="{height}">\n')
            for line in _mask_lines(item.array, classes):
                file.write(line)
            file.write("  </image>\n")
        file.write("</annotations>\n")
    return []


def _mask_lines(array: LabelArray, classes: Sequence[LabelClass]) -> Iterator[str]:
    for entry, mask in present(array, classes):
        for x, y, part in components(mask):
            runs = ", ".join(map(str, to_runs(part)))
            box = f'left="{x}" top="{y}" width="{part.shape[1]}" height="{part.shape[0]}"'
            yield f'    <mask label={quoteattr(entry.name)} rle="{runs}" {box} z_order="0"></mask>\n'
