"""Pascal VOC: SegmentationClass/<name>.png, palette PNG of class indices, 255 = border and ignored.

JPEG masks are refused: compression changes indices.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from segstudio.core.formats import index_pictures
from segstudio.core.formats.exchange import Imported, Labels, Note, SizeOf
from segstudio.core.records import LabelClass
from segstudio.core.taxonomies import load_taxonomy

_FOLDER = "SegmentationClass"


def read(source: Path, *, classes: Sequence[LabelClass] = (), size_of: SizeOf | None = None) -> Imported:
    """Reads the folder SegmentationClass of a data set, or `source` itself. Without classes, VOC's own."""
    folder = next((path for path in sorted(source.rglob(_FOLDER)) if path.is_dir()), source)
    return index_pictures.read(folder, classes=classes or voc_classes(), size_of=size_of)


def voc_classes() -> tuple[LabelClass, ...]:
    """The 21 classes of the data set with their colours."""
    entries = enumerate(load_taxonomy("pascal_voc").classes)
    return tuple(LabelClass(index, entry.name, entry.color) for index, entry in entries)


def write(target: Path, classes: Sequence[LabelClass], items: Iterable[Labels]) -> list[Note]:
    """Writes SegmentationClass/<path>.png and classes.txt. Raises OSError."""
    return index_pictures.write(target / _FOLDER, classes, items)
