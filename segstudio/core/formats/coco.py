"""COCO: one JSON with images, categories and annotations (polygons or run lengths), and panoptic PNGs.

Category ids are sparse and never become class numbers; names do. Of overlapping instances the smaller lies
on top, and the covered pixels are told. Polygons put pixel centres at 0.5.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segstudio.core import atomic_file, images
from segstudio.core.errors import UserError
from segstudio.core.formats.exchange import (
    ClassNumbers,
    Imported,
    Labels,
    Note,
    SizeOf,
    blank,
    entries,
    identifier,
    image_name,
    inside,
    number_or_none,
    paint,
    present,
    read_json,
    size_in,
    size_of_image,
)
from segstudio.core.formats.outlines import Mask, polygon_mask
from segstudio.core.formats.run_lengths import coco_counts, coco_mask
from segstudio.core.records import LabelClass, printable

FILE = "annotations.json"


def read(source: Path, *, classes: Sequence[LabelClass] = (), size_of: SizeOf | None = None) -> Imported:
    """Reads one JSON file; of a folder, the only or first one in it that is COCO.

    Raises UserError where there is none.
    """
    path, document = _find(source)
    numbers = ClassNumbers(classes)
    result = Imported(numbers, iter(()))
    categories: dict[Any, str] = {}
    for entry in entries(document.get("categories")):
        number = identifier(entry.get("id"))
        if number is not None:
            if number in categories:
                result.notes.append(Note(path.name, f"two categories have the id {number}"))
            categories[number] = str(entry.get("name", number))
    for name in categories.values():
        numbers.number(name)
    result.items = _Reader(path, document, categories, numbers, size_of, result.notes).items()
    return result


def _find(source: Path) -> tuple[Path, dict[str, Any]]:
    paths = [source] if source.is_file() else sorted(source.rglob("*.json"))
    for path in paths:
        document = read_json(path)
        if isinstance(document, dict) and {"images", "annotations"} <= set(document):
            return path, document
    raise UserError("There is no COCO file", where=f"in {printable(str(source))}")


class _Reader:
    def __init__(
        self,
        path: Path,
        document: dict[str, Any],
        categories: dict[Any, str],
        numbers: ClassNumbers,
        size_of: SizeOf | None,
        notes: list[Note],
    ) -> None:
        self._path = path
        self._document = document
        self._categories = categories
        self._numbers = numbers
        self._size_of = size_of
        self._notes = notes

    def _note(self, name: str, what: str) -> None:
        self._notes.append(Note(name, what))

    def items(self) -> Iterator[Labels]:
        by_image: dict[Any, list[dict[str, Any]]] = {}
        for entry in entries(self._document["annotations"]):
            by_image.setdefault(identifier(entry.get("image_id")), []).append(entry)
        seen: set[Any] = set()
        for image in entries(self._document["images"]):
            number = identifier(image.get("id"))
            if number is None:
                self._note(self._path.name, "an image without id was left out")
                continue
            name = image_name(str(image.get("file_name", number)))
            if number in seen:
                self._note(name, f"two images have the id {number}; this one was left out")
                continue
            seen.add(number)
            try:
                yield Labels(name, self._labels(image, name, by_image.pop(number, [])))
            except (ValueError, UserError) as error:
                self._note(name, f"it was left out: {error}")
        for left, orphans in by_image.items():
            if left not in seen:
                self._note(self._path.name, f"{len(orphans)} annotations belong to no image (id {left})")

    def _labels(self, image: dict[str, Any], name: str, found: list[dict[str, Any]]) -> Any:
        size = size_in(image, "width", "height")
        actual = size_of_image(self._size_of, name)
        if actual is not None and size is not None and actual != size:
            raise ValueError(f"it is {actual[0]}x{actual[1]}, the file says {size[0]}x{size[1]}")
        size = actual or size
        if size is None:
            raise ValueError("its size is not known")
        array = blank(*size)
        masks: list[tuple[int, Mask]] = []
        for entry in found:
            if "segments_info" in entry:
                masks.extend(self._panoptic(entry, name, *size))
                continue
            category = self._categories.get(identifier(entry.get("category_id")))
            if category is None:
                self._note(name, f"an annotation has the unknown category {entry.get('category_id')}")
                continue
            try:
                mask = _segmentation(entry.get("segmentation"), *size)
            except ValueError as error:
                self._note(name, f"annotation {entry.get('id')} was left out: {error}")
                continue
            masks.append((self._numbers.number(category), mask))
        covered = 0
        for index, mask in sorted(masks, key=lambda item: -int(item[1].sum())):
            array, lost = paint(array, mask, index)
            covered += lost
        if covered:
            self._note(name, f"{covered} px belong to several instances of different classes; smaller on top")
        return array

    def _panoptic(self, entry: dict[str, Any], name: str, width: int, height: int) -> list[tuple[int, Mask]]:
        """A segment's id is R + 256 G + 65536 B of the PNG that lies in a folder named like the JSON."""
        path = inside(self._path.with_suffix(""), str(entry.get("file_name", "")))
        if not path.exists():
            path = inside(self._path.parent, str(entry.get("file_name", "")))
        rgb = images.read_rgb(path).astype(np.int64)
        if rgb.shape[:2] != (height, width):
            raise ValueError(f"its panoptic picture is {rgb.shape[1]}x{rgb.shape[0]}")
        ids = rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]
        result = []
        for segment in entries(entry["segments_info"]):
            category = self._categories.get(identifier(segment.get("category_id")))
            if category is None:
                self._note(name, f"a segment has the unknown category {segment.get('category_id')}")
                continue
            result.append((self._numbers.number(category), ids == identifier(segment.get("id"))))
        return result


def _segmentation(value: Any, width: int, height: int) -> Mask:
    if isinstance(value, dict):
        size = value.get("size")
        if size != [height, width]:
            raise ValueError(f"its run lengths are for {size} instead of {[height, width]}")
        return coco_mask(value.get("counts"), width, height)
    if not isinstance(value, list) or not value:
        raise ValueError("it has no segmentation")
    mask = np.zeros((height, width), bool)
    for part in value:
        numbers = [number_or_none(entry) for entry in part] if isinstance(part, list) else []
        if len(numbers) < 6 or len(numbers) % 2 or None in numbers:
            raise ValueError("a polygon of fewer than three points")
        flat = [number for number in numbers if number is not None]
        mask |= polygon_mask(width, height, [list(zip(flat[::2], flat[1::2], strict=True))], offset=-0.5)
    return mask


def write(target: Path, classes: Sequence[LabelClass], items: Iterable[Labels]) -> list[Note]:
    """Writes annotations.json: of every image, one annotation a class as compressed run lengths.

    Every pixel comes back when the file is read again; category id = class number + 1, as id 0 is not usual.
    """
    pictures: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    names = {entry.id: entry.name for entry in classes}
    for item in items:
        height, width = item.array.shape
        pictures.append({"id": len(pictures) + 1, "file_name": item.image, "width": width, "height": height})
        for entry, mask in present(item.array, classes):
            names.setdefault(entry.id, entry.name)
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            x, y = int(columns[0]), int(rows[0])
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": len(pictures),
                    "category_id": entry.id + 1,
                    "segmentation": {"size": [height, width], "counts": coco_counts(mask)},
                    "area": int(mask.sum()),
                    "bbox": [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1],
                    "iscrowd": 0,
                }
            )
    document = {
        "images": pictures,
        "categories": [{"id": index + 1, "name": name} for index, name in sorted(names.items())],
        "annotations": annotations,
    }
    target.mkdir(parents=True, exist_ok=True)
    atomic_file.write_bytes(target / FILE, json.dumps(document).encode("utf-8"))
    return []
