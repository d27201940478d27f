"""Label Studio JSON: tasks with results in per cent of the picture, and brush strokes as run lengths."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from segstudio.core import atomic_file
from segstudio.core.errors import UserError
from segstudio.core.formats.exchange import (
    ClassNumbers,
    Imported,
    Labels,
    Note,
    SizeOf,
    blank,
    entries,
    files,
    image_name,
    listed,
    number_or_none,
    paint,
    present,
    read_json,
    size_in,
    size_of_image,
)
from segstudio.core.formats.outlines import Mask, ellipse_points, polygon_mask, rectangle_points, turned
from segstudio.core.formats.run_lengths import brush_code, brush_mask
from segstudio.core.records import LabelClass, printable

FILE = "label_studio.json"
_KINDS = ("brushlabels", "polygonlabels", "rectanglelabels", "ellipselabels")


def read(source: Path, *, classes: Sequence[LabelClass] = (), size_of: SizeOf | None = None) -> Imported:
    """Reads one JSON export, or the first of a folder. Raises UserError where there is none."""
    path = files(source, ".json")[0]
    document = read_json(path)
    tasks = document if isinstance(document, list) else [document]
    if not any(isinstance(task, dict) and "data" in task for task in tasks):
        raise UserError("This is no Label Studio export", where=f"({printable(str(path))})")
    numbers = ClassNumbers(classes)
    result = Imported(numbers, iter(()))
    result.items = _labels(tasks, path.name, numbers, size_of, result.notes)
    return result


def _labels(
    tasks: list[Any], file: str, numbers: ClassNumbers, size_of: SizeOf | None, notes: list[Note]
) -> Iterator[Labels]:
    for position, task in enumerate(tasks, 1):
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
            notes.append(Note(file, f"task {position} has no data: left out"))
            continue
        name = _task_image(task)
        usable = [entry for entry in entries(task.get("annotations")) if not entry.get("was_cancelled")]
        if not usable:
            notes.append(Note(name, "it has no annotation"))
            continue
        if len(usable) > 1:
            notes.append(Note(name, f"{len(usable)} people annotated it; the last one counts"))
        results = entries(usable[-1].get("result"))
        size = next(
            (found for entry in results if (found := size_in(entry, "original_width", "original_height"))),
            None,
        )
        actual = size_of_image(size_of, name)
        if size is None and actual is None:
            notes.append(Note(name, "its size is not known: left out"))
            continue
        if size is not None and actual is not None and size != actual:
            what = f"it is {actual[0]}x{actual[1]}, the file says {size[0]}x{size[1]}: left out"
            notes.append(Note(name, what))
            continue
        try:
            yield _one(name, results, size or actual or (0, 0), numbers, notes)
        except ValueError as error:
            notes.append(Note(name, f"it was left out: {error}"))


def _task_image(task: dict[str, Any]) -> str:
    texts = [value for value in task["data"].values() if isinstance(value, str)]
    text = str(task["data"].get("image") or (texts[0] if texts else ""))
    text = unquote(text.partition("?d=")[2] or text.partition("?")[0])
    name = image_name(text.partition("://")[2] or text)
    # Uploads are stored as "<8 hex digits>-<name>".
    folder, _, last = name.rpartition("/")
    if "upload" in folder.split("/") and len(last) > 9 and last[8] == "-":
        return last[9:]
    return name


def _one(
    name: str, results: list[dict[str, Any]], size: tuple[int, int], numbers: ClassNumbers, notes: list[Note]
) -> Labels:
    array = blank(*size)
    covered = 0
    for entry in results:
        kind = str(entry.get("type"))
        if kind not in _KINDS:
            notes.append(Note(name, f"a result of type {kind!r} was left out"))
            continue
        value = entry.get("value") if isinstance(entry.get("value"), dict) else {}
        assert isinstance(value, dict)
        labels = listed(value.get(kind))
        try:
            if not labels:
                raise ValueError("it has no label")
            if (entry.get("image_rotation") or 0) not in (0, 360):
                raise ValueError("the picture was turned while it was annotated")
            mask = _mask(kind, value, *size)
        except ValueError as error:
            notes.append(Note(name, f"a result of type {kind!r} was left out: {error}"))
            continue
        array, lost = paint(array, mask, numbers.number(str(labels[0])))
        covered += lost
    if covered:
        notes.append(Note(name, f"{covered} px belong to several results of different classes; later on top"))
    return Labels(name, array)


def _mask(kind: str, value: dict[str, Any], width: int, height: int) -> Mask:
    if kind == "brushlabels":
        return brush_mask(value.get("rle"), width, height)
    if kind == "polygonlabels":
        points = [_pair(point) for point in listed(value.get("points"))]
        if len(points) < 3:
            raise ValueError(f"a polygon of {len(points)} points")
    elif kind == "rectanglelabels":
        x, y = _number(value, "x"), _number(value, "y")
        corners = rectangle_points(x, y, x + _number(value, "width"), y + _number(value, "height"))
        return _drawn(corners, value, corners[0], width, height)
    else:
        x, y = _number(value, "x"), _number(value, "y")
        points = ellipse_points(x, y, _number(value, "radiusX"), _number(value, "radiusY"))
        return _drawn(points, value, (x, y), width, height)
    return _drawn(points, {}, (0, 0), width, height)


def _drawn(
    points: list[tuple[float, float]],
    value: dict[str, Any],
    center: tuple[float, float],
    width: int,
    height: int,
) -> Mask:
    """Per cent to pixels first, then turned: an angle in per cent would be skewed."""
    pixels = [(x * width / 100, y * height / 100) for x, y in points]
    middle = (center[0] * width / 100, center[1] * height / 100)
    rotation = number_or_none(value.get("rotation")) or 0.0
    return polygon_mask(width, height, [turned(pixels, middle, rotation)], offset=-0.5)


def _pair(point: Any) -> tuple[float, float]:
    if isinstance(point, list) and len(point) == 2:
        x, y = number_or_none(point[0]), number_or_none(point[1])
        if x is not None and y is not None:
            return x, y
    raise ValueError(f"{str(point)[:40]} is no point")


def _number(value: dict[str, Any], key: str) -> float:
    number = number_or_none(value.get(key))
    if number is None:
        raise ValueError(f"it has no {key}")
    return number


def write(target: Path, classes: Sequence[LabelClass], items: Iterable[Labels]) -> list[Note]:
    """Writes label_studio.json with one brush result a class: every pixel comes back when read again."""
    tasks: list[dict[str, Any]] = []
    for item in items:
        height, width = item.array.shape
        results = [
            {
                "id": f"{len(tasks)}_{entry.id}",
                "type": "brushlabels",
                "from_name": "label",
                "to_name": "image",
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "value": {"format": "rle", "rle": brush_code(mask), "brushlabels": [entry.name]},
            }
            for entry, mask in present(item.array, classes)
        ]
        tasks.append({"data": {"image": printable(item.image)}, "annotations": [{"result": results}]})
    target.mkdir(parents=True, exist_ok=True)
    atomic_file.write_bytes(target / FILE, json.dumps(tasks).encode("utf-8"))
    return []
