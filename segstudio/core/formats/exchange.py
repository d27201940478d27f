"""What all formats share: labels on their way in and out, notes instead of silence, and safe paths.

A format module has `read(source, *, classes, size_of)` and `write(target, classes, items)`. Reading never
opens a path that leaves the folder it was given, and checks sizes before it makes arrays.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from segstudio.core.errors import UserError
from segstudio.core.label_map import LabelArray, ignore_value
from segstudio.core.records import LabelClass, printable
from segstudio.core.taxonomies import default_palette

LARGEST_PIXELS = 250_000_000
LARGEST_JSON = 512 << 20
SizeOf = Callable[[str], tuple[int, int] | None]
"""Image name -> (width, height) in pixels, None where it is not known."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something a person should know about one file: what was left out, changed or not understood."""

    file: str
    what: str

    def __str__(self) -> str:
        return f"{printable(self.file)}: {self.what}"


@dataclass(frozen=True, slots=True)
class Labels:
    """The label map (H, W) uint8 or uint16 of one image. `image` is its name, with "/" between parts."""

    image: str
    array: LabelArray


@dataclass
class Imported:
    """What a reader found. `items` is read once; `classes` and `notes` are whole after that."""

    classes: ClassNumbers
    items: Iterator[Labels]
    notes: list[Note] = field(default_factory=list)


class ClassNumbers:
    """Numbers for class names: those of the project by name or alias, new ones after the largest."""

    def __init__(self, classes: Sequence[LabelClass] = ()) -> None:
        self._classes: dict[int, LabelClass] = {entry.id: entry for entry in classes}
        self._by_name: dict[str, int] = {}
        for entry in classes:
            for name in (entry.name, *entry.aliases):
                self._by_name.setdefault(plain(name), entry.id)
        self.added: list[LabelClass] = []

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """The project's classes, then the new ones."""
        return tuple(self._classes.values())

    def find(self, name: str) -> int | None:
        """The number of a known name."""
        return self._by_name.get(plain(name))

    def number(
        self, name: str, *, wanted: int | None = None, color: tuple[int, int, int] | None = None
    ) -> int:
        """The number of a name; a new class takes `wanted` where that is free, else the next number."""
        known = self.find(name)
        if known is not None:
            return known
        index = wanted if wanted is not None and wanted not in self._classes and wanted != 255 else None
        if index is None:
            index = max(self._classes, default=-1) + 1
            index += index == 255
        entry = LabelClass(
            index, name.strip() or f"class {index}", color or default_palette(index + 1)[index]
        )
        self._classes[index] = entry
        self._by_name[plain(name)] = index
        self.added.append(entry)
        return index


class LeftOut:
    """Classes that a format of fixed classes does not know: counted over all images, told once each."""

    def __init__(self, missing: Sequence[LabelClass], format_title: str) -> None:
        self._missing = missing
        self._format = format_title
        self._pixels: dict[int, int] = {}
        self._images: dict[int, int] = {}

    def without(self, array: LabelArray) -> LabelArray:
        """The map with pixels of missing classes unlabelled; the same map where there are none."""
        counts = np.bincount(array.ravel(), minlength=1)
        gone = [entry.id for entry in self._missing if entry.id < len(counts) and counts[entry.id]]
        if not gone:
            return array
        for index in gone:
            self._pixels[index] = self._pixels.get(index, 0) + int(counts[index])
            self._images[index] = self._images.get(index, 0) + 1
        table = np.arange(int(np.iinfo(array.dtype).max) + 1).astype(array.dtype)
        table[gone] = ignore_value(array.dtype)
        kept: LabelArray = table[array]
        return kept

    def notes(self) -> list[Note]:
        """One for every class that was left out."""
        return [
            Note(
                entry.name,
                f"{self._format} has no such class: {self._pixels[entry.id]} px become unlabelled "
                f"(images: {self._images[entry.id]})",
            )
            for entry in self._missing
            if entry.id in self._pixels
        ]


def plain(name: str) -> str:
    """A class name for comparing: case, spaces, "-" and "_" do not count."""
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def blank(width: int, height: int, dtype: Any = np.uint8) -> LabelArray:
    """An unlabelled map. Raises ValueError for sizes that no image has."""
    if not (width > 0 and height > 0 and width * height <= LARGEST_PIXELS):
        raise ValueError(f"a picture of {width}x{height} pixels is not possible")
    return np.full((height, width), ignore_value(dtype), dtype)


def paint(array: LabelArray, where: Any, index: int) -> tuple[LabelArray, int]:
    """Sets `where` (H, W) bool to class `index`; gives the map, wider where needed, and the pixels covered
    that were another class before.
    """
    if index > 254 and array.dtype == np.uint8:
        wide = array.astype(np.uint16)
        wide[array == 255] = 65535
        array = wide
    lost = int(np.count_nonzero(where & (array != ignore_value(array.dtype)) & (array != index)))
    array[where] = index
    return array, lost


def read_json(path: Path) -> Any:
    """The document of a JSON file. Raises UserError: unreadable, too large, nested too deeply, no JSON."""
    where = printable(str(path))
    try:
        size = path.stat().st_size
        if size > LARGEST_JSON:
            raise UserError(f"The file has {size / 1e6:.0f} MB, too large to read", where=f"({where})")
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UserError("The file cannot be read", where=f"({where})", details=str(error)) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise UserError("The file is no usable JSON", where=f"({where})", details=str(error)) from error


def image_name(text: str) -> str:
    """An image's name from inside a file: "/" between parts, without leading "./" and "../".

    It is a name to look up among the project's images, never a path to open.
    """
    parts = [part for part in text.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    if parts and re.fullmatch(r"[A-Za-z]:", parts[0]):
        parts = parts[1:]
    return "/".join(parts)


def inside(root: Path, name: str) -> Path:
    """The file `name` below `root`. Raises ValueError where the name leaves the folder, also by links."""
    text = name.replace("\\", "/")
    pure = PurePosixPath(text)
    if not text or "\0" in text or pure.is_absolute() or ".." in pure.parts or re.match(r"[A-Za-z]:", text):
        raise ValueError(f"the path {printable(name)!r} leaves its folder")
    path = root / pure
    base = os.path.realpath(root)
    if os.path.commonpath([base, os.path.realpath(path)]) != base:
        raise ValueError(f"the path {printable(name)!r} leaves its folder through a link")
    return path


def output_path(folder: Path, image: str, suffix: str) -> Path:
    """Where the labels of an image go: its name with another suffix below `folder`, made as needed."""
    path = inside(folder, str(PurePosixPath(image_name(image)).with_suffix(suffix)))
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def files(source: Path, suffix: str) -> list[Path]:
    """The file itself, or all files with a suffix below a folder. Raises UserError where there is none."""
    if source.is_file():
        return [source]
    found = sorted(path for path in source.rglob(f"*{suffix}") if path.is_file())
    if not found:
        raise UserError(f"There is no {suffix} file", where=f"in {printable(str(source))}")
    return found


def relative(path: Path, source: Path) -> str:
    """A file's name as people see it: below the folder that was read."""
    return path.name if source.is_file() else path.relative_to(source).as_posix()


def present(array: LabelArray, classes: Iterable[LabelClass]) -> Iterator[tuple[LabelClass, Any]]:
    """(class, where (H, W) bool) of all classes that occur; values without a class get a name of theirs."""
    by_id = {entry.id: entry for entry in classes}
    counts = np.bincount(array.ravel(), minlength=1)
    for value in np.flatnonzero(counts).tolist():
        if value != ignore_value(array.dtype):
            entry = by_id.get(value) or LabelClass(value, f"class {value}", (128, 128, 128))
            yield entry, array == value


def listed(value: Any) -> list[Any]:
    """A list from a document; empty where something else stands there."""
    return value if isinstance(value, list) else []


def entries(value: Any) -> list[dict[str, Any]]:
    """The objects of a list from a document."""
    return [entry for entry in listed(value) if isinstance(entry, dict)]


def identifier(value: Any) -> int | str | None:
    """A number or text that names something in a document; None for anything else."""
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def number_or_none(value: Any) -> float | None:
    """A finite number from a document, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e9 else None


def size_of_image(size_of: SizeOf | None, image: str) -> tuple[int, int] | None:
    """What `size_of` knows; None for a picture that cannot be opened: whoever takes the labels tells that."""
    try:
        return None if size_of is None else size_of(image)
    except UserError:
        return None


def size_in(document: Any, width: str, height: str) -> tuple[int, int] | None:
    """(width, height) from two fields of a document, None where they are no positive whole numbers."""
    if not isinstance(document, dict):
        return None
    found = (document.get(width), document.get(height))
    if all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in found):
        return int(found[0]), int(found[1])  # type: ignore[arg-type]
    return None
