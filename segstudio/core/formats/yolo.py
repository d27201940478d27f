"""YOLO segmentation: one text file an image; a line is a class number and a polygon in shares of the size.

A polygon has one ring, so holes are joined to the border by a cut of no width. What rounding and the ring
cost is counted, and told in pixels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segstudio.core import atomic_file
from segstudio.core.errors import UserError
from segstudio.core.formats.exchange import (
    ClassNumbers,
    Imported,
    Labels,
    Note,
    SizeOf,
    blank,
    output_path,
    paint,
    present,
    relative,
    size_of_image,
)
from segstudio.core.formats.outlines import Mask, bridged_outline, components, polygon_mask
from segstudio.core.label_map import LabelArray
from segstudio.core.records import LabelClass, printable

_LISTS = ("classes.txt", "obj.names", "names.txt")
_LONGEST_FILE = 64 << 20


def read(source: Path, *, classes: Sequence[LabelClass] = (), size_of: SizeOf | None = None) -> Imported:
    """Reads all label files of a folder; `size_of` must know the images.

    Class names come from data.yaml or classes.txt in or above the folder; without them, numbers are those
    of the project. Raises UserError where there is no label file.
    """
    numbers = ClassNumbers(classes)
    names = _names(source)
    listed = [numbers.number(name, wanted=index) for index, name in enumerate(names)]
    paths = [path for path in sorted(source.rglob("*.txt")) if path.name not in _LISTS]
    if not paths:
        raise UserError("There are no YOLO label files", where=f"in {printable(str(source))}")
    result = Imported(numbers, iter(()))
    result.items = _read_all(paths, source, listed, numbers, size_of, result.notes)
    return result


def _names(source: Path) -> list[str]:
    for folder in (source, source.parent):
        for name in _LISTS:
            if (folder / name).is_file():
                return [line.strip() for line in _lines(folder / name) if line.strip()]
        for path in sorted(folder.glob("*.yaml")) + sorted(folder.glob("*.yml")):
            names = yaml_names(_lines(path))
            if names:
                return names
    return []


def _lines(path: Path) -> list[str]:
    if path.stat().st_size > _LONGEST_FILE:
        raise ValueError("the file is too large")
    return path.read_text("utf-8", "replace").splitlines()


def yaml_names(lines: Sequence[str]) -> list[str]:
    """The entry `names` of a data.yaml, as a list in brackets, with dashes, or by number."""
    start = next((index for index, line in enumerate(lines) if re.match(r"names\s*:", line)), None)
    if start is None:
        return []
    text = lines[start].partition(":")[2].partition("#")[0].strip()
    if text.startswith("["):
        following = " ".join([text, *lines[start + 1 :]])
        return [_unquoted(part) for part in following[1 : following.find("]")].split(",") if part.strip()]
    found: dict[int, str] = {}
    for line in lines[start + 1 :]:
        dashed = re.match(r"\s*-\s+(.*)", line)
        numbered = re.match(r"\s+(\d{1,5})\s*:\s*(.*)", line)
        if dashed:
            found[len(found)] = _unquoted(dashed[1])
        elif numbered:
            found[int(numbered[1])] = _unquoted(numbered[2])
        elif line.strip() and not line.lstrip().startswith("#"):
            break
    return [found.get(index, f"class {index}") for index in range(max(found, default=-1) + 1)]


def _unquoted(text: str) -> str:
    return text.strip().strip("\"'")


def _read_all(
    paths: list[Path],
    source: Path,
    listed: list[int],
    numbers: ClassNumbers,
    size_of: SizeOf | None,
    notes: list[Note],
) -> Iterator[Labels]:
    for path in paths:
        name = relative(path, source)
        stem = name.removesuffix(".txt")
        size = size_of_image(size_of, stem)
        if size is None:
            notes.append(Note(name, "there is no picture of this name, so its size is not known: left out"))
            continue
        try:
            lines = _lines(path)
        except (OSError, ValueError) as error:
            notes.append(Note(name, f"it cannot be read: {error}"))
            continue
        array = blank(*size)
        covered = 0
        for row, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                array, lost = _line(line, array, listed, numbers)
                covered += lost
            except ValueError as error:
                notes.append(Note(name, f"line {row} was left out: {error}"))
        if covered:
            notes.append(Note(name, f"{covered} px belong to several classes; later lines on top"))
        yield Labels(stem, array)


def _line(line: str, array: LabelArray, listed: list[int], numbers: ClassNumbers) -> tuple[LabelArray, int]:
    parts = line.split()
    index = int(parts[0])
    shares = np.array([float(part) for part in parts[1:]])
    if len(shares) < 6 or len(shares) % 2:
        raise ValueError(f"{len(shares)} numbers are no polygon (a box has 4)")
    if not np.isfinite(shares).all() or index < 0 or index > 65534:
        raise ValueError("its numbers are out of range")
    if listed and index >= len(listed):
        raise ValueError(f"class {index} of {len(listed)}")
    if listed:
        target = listed[index]
    else:
        known = {entry.id for entry in numbers.classes}
        target = index if index in known else numbers.number(f"class {index}", wanted=index)
    height, width = array.shape
    return paint(array, _ring_mask(shares, width, height), target)


def _ring_mask(shares: NDArray[np.float64], width: int, height: int) -> Mask:
    # Rounded to thousandths of a pixel: shares have few digits, and drawing cuts fractions off.
    points = np.round(shares.reshape(-1, 2) * (width, height) - 0.5, 3)
    return polygon_mask(width, height, [[(x, y) for x, y in points.tolist()]])


def write(target: Path, classes: Sequence[LabelClass], items: Iterable[Labels]) -> list[Note]:
    """Writes labels/<path>.txt and data.yaml below `target`; notes tell the pixels that do not come back."""
    notes: list[Note] = []
    order = sorted(classes, key=lambda entry: entry.id)
    for item in items:
        height, width = item.array.shape
        again = blank(width, height, item.array.dtype)
        lines: list[str] = []
        parts = [
            (int(part.sum()), entry, x, y, part)
            for entry, mask in present(item.array, order)
            for x, y, part in components(mask)
        ]
        # Large areas first: what lies in their holes is then drawn over them.
        for _, entry, x, y, part in sorted(parts, key=lambda item: -item[0]):
            ring = [(x + px + 0.5, y + py + 0.5) for px, py in bridged_outline(part)]
            while len(ring) < 3:
                ring.append(ring[-1])
            index = next((at for at, other in enumerate(order) if other.id == entry.id), None)
            if index is None:
                notes.append(
                    Note(item.image, f"{int(part.sum())} px of {entry.name} have no class: left out")
                )
                continue
            text = " ".join(f"{px / width:.8f} {py / height:.8f}" for px, py in ring)
            lines.append(f"{index} {text}")
            shares = np.array([float(number) for number in text.split()])
            again, _ = paint(again, _ring_mask(shares, width, height), entry.id)
        lost = int(np.count_nonzero(again != item.array))
        if lost:
            notes.append(
                Note(item.image, f"{lost} of {item.array.size} px differ when this file is read again")
            )
        path = output_path(target / "labels", item.image, ".txt")
        atomic_file.write_bytes(path, "".join(f"{line}\n" for line in lines).encode("ascii"))
    names = "".join(f"  {index}: {_quoted(entry.name)}\n" for index, entry in enumerate(order))
    target.mkdir(parents=True, exist_ok=True)
    atomic_file.write_bytes(target / "data.yaml", f"path: .\nnames:\n{names}".encode())
    return notes


def _quoted(name: str) -> str:
    return '"' + name.replace('"', "'") + '"'
