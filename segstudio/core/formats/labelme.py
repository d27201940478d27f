"""labelme JSON: one file beside each image, shapes with labels, drawn in their order.

Facts of the format: points are (x, y) in pixels, fractional, and may lie outside the image; `imagePath` may
use Windows separators; a shape of type "mask" carries a PNG of its box in base64; `__ignore__` marks pixels
that no class should claim, `_background_` the class of pixels that no shape covers. `imageData`, a copy of
the whole picture, is neither needed nor written.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segstudio.core import atomic_file, palette_png
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
    listed,
    number_or_none,
    output_path,
    paint,
    present,
    read_json,
    relative,
    size_in,
    size_of_image,
)
from segstudio.core.formats.outlines import (
    Mask,
    components,
    ellipse_points,
    line_mask,
    outline,
    polygon_mask,
    rectangle_points,
)
from segstudio.core.label_map import ignore_value
from segstudio.core.records import LabelClass

_VERSION = "5.5.0"
_IGNORE = "__ignore__"
_BACKGROUND = "_background_"
_LINE_WIDTH, _POINT_RADIUS = 10, 5


def read(source: Path, *, classes: Sequence[LabelClass] = (), size_of: SizeOf | None = None) -> Imported:
    """Reads a file or all of a folder. Pixels outside of shapes are unlabelled, or `_background_` where the
    project has that class. Raises UserError where there is no file; broken files become notes.
    """
    paths = files(source, ".json")
    numbers = ClassNumbers(classes)
    result = Imported(numbers, iter(()))
    result.items = _read_all(paths, source, numbers, size_of, result.notes)
    return result


def _read_all(
    paths: list[Path], source: Path, numbers: ClassNumbers, size_of: SizeOf | None, notes: list[Note]
) -> Iterator[Labels]:
    for path in paths:
        name = relative(path, source)
        try:
            document = read_json(path)
            if not isinstance(document, dict) or not isinstance(document.get("shapes"), list):
                notes.append(Note(name, "this is no labelme file"))
                continue
            yield _one(document, name, numbers, size_of, notes)
        except UserError as error:
            notes.append(Note(name, str(error)))
        except ValueError as error:
            notes.append(Note(name, f"it cannot be used: {error}"))


def _one(
    document: dict[str, Any], name: str, numbers: ClassNumbers, size_of: SizeOf | None, notes: list[Note]
) -> Labels:
    image = image_name(str(document.get("imagePath") or name.replace(".json", "")))
    stated = size_in(document, "imageWidth", "imageHeight")
    actual = size_of_image(size_of, image)
    size = actual or stated
    if size is None:
        raise ValueError("the size of its picture is not known")
    if actual and stated and actual != stated:
        notes.append(Note(name, f"it says {stated[0]}x{stated[1]}, the picture is {actual[0]}x{actual[1]}"))
    array = blank(*size)
    background = numbers.find(_BACKGROUND)
    if background is not None:
        array, _ = paint(array, np.ones(array.shape, bool), background)
    for order, shape in enumerate(document["shapes"]):
        try:
            mask = shape_mask(shape, *size)
        except ValueError as error:
            notes.append(Note(name, f"shape {order + 1} was left out: {error}"))
            continue
        label = str(shape.get("label") or "")
        if not mask.any():
            notes.append(Note(name, f'shape {order + 1} ("{label}") lies outside of the picture'))
        elif label == _IGNORE:
            array[mask] = ignore_value(array.dtype)
        else:
            array, _ = paint(array, mask, numbers.number(label))
    return Labels(image, array)


def shape_mask(shape: Any, width: int, height: int) -> Mask:
    """(H, W) bool of one shape. Raises ValueError for shapes that cannot be drawn."""
    if not isinstance(shape, dict):
        raise ValueError("it is no shape")
    kind = str(shape.get("shape_type") or "polygon")
    points = [_point(entry) for entry in listed(shape.get("points"))]
    if kind == "polygon":
        if len(points) < 3:
            raise ValueError(f"a polygon of {len(points)} points")
        return polygon_mask(width, height, [points])
    needed = {"rectangle": 2, "circle": 2, "line": 2, "linestrip": 2, "point": 1, "points": 1, "mask": 2}
    if kind == "oriented_rectangle":
        if len(points) != 4:
            raise ValueError(f"an oriented rectangle of {len(points)} points")
        return polygon_mask(width, height, [points])
    if kind not in needed:
        raise ValueError(f"shapes of type {kind!r} are not known")
    if len(points) < needed[kind]:
        raise ValueError(f"a {kind} of {len(points)} points")
    if kind == "mask":
        return _mask(shape, points, width, height)
    if kind == "rectangle":
        (x0, y0), (x1, y1) = points[:2]
        return polygon_mask(width, height, [rectangle_points(x0, y0, x1, y1)])
    if kind == "circle":
        (cx, cy), (px, py) = points[:2]
        radius = math.hypot(px - cx, py - cy)
        return polygon_mask(width, height, [ellipse_points(cx, cy, radius, radius)])
    if kind in ("line", "linestrip"):
        return line_mask(width, height, points, _LINE_WIDTH)
    dots = np.zeros((height, width), bool)
    for x, y in points:
        dots |= polygon_mask(width, height, [ellipse_points(x, y, _POINT_RADIUS, _POINT_RADIUS)])
    return dots


def _point(entry: Any) -> tuple[float, float]:
    if isinstance(entry, list) and len(entry) >= 2:
        x, y = number_or_none(entry[0]), number_or_none(entry[1])
        if x is not None and y is not None:
            return x, y
    raise ValueError(f"{str(entry)[:40]} is no point")


def _mask(shape: dict[str, Any], points: list[tuple[float, float]], width: int, height: int) -> Mask:
    try:
        data = base64.b64decode(str(shape.get("mask") or ""), validate=True)
        part, _ = palette_png.decode(data)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"its mask is no PNG ({error})") from error
    x, y = round(points[0][0]), round(points[0][1])
    whole = np.zeros((height, width), bool)
    x0, y0 = max(0, x), max(0, y)
    x1, y1 = min(width, x + part.shape[1]), min(height, y + part.shape[0])
    if x0 < x1 and y0 < y1:
        whole[y0:y1, x0:x1] = part[y0 - y : y1 - y, x0 - x : x1 - x] > 0
    return whole


def write(target: Path, classes: Sequence[LabelClass], items: Iterable[Labels]) -> list[Note]:
    """Writes one file an image below `target`: polygons where they are exact, else shapes of type "mask".

    Every pixel comes back when the file is read again. Raises OSError.
    """
    for item in items:
        shapes = [
            _shape(entry.name, x, y, part)
            for entry, mask in present(item.array, classes)
            for x, y, part in components(mask)
        ]
        path = output_path(target, item.image, ".json")
        depth = "../" * (len(path.relative_to(target).parts) - 1)
        document: dict[str, Any] = {
            "version": _VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": depth + item.image,
            "imageData": None,
            "imageHeight": int(item.array.shape[0]),
            "imageWidth": int(item.array.shape[1]),
        }
        text = json.dumps(document, ensure_ascii=True, indent=1)
        atomic_file.write_bytes(path, text.encode("utf-8"))
    return []


def _shape(label: str, x: int, y: int, part: Mask) -> dict[str, Any]:
    shape: dict[str, Any] = {"label": label, "group_id": None, "description": "", "flags": {}}
    ring = outline(part)
    if ring is not None:
        points = [[x + px, y + py] for px, py in ring]
        return {**shape, "shape_type": "polygon", "points": points, "mask": None}
    corners = [[x, y], [x + part.shape[1] - 1, y + part.shape[0] - 1]]
    png = base64.b64encode(palette_png.encode(part.astype(np.uint8) * 255)).decode("ascii")
    return {**shape, "shape_type": "mask", "points": corners, "mask": png}
