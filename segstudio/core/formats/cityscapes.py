"""Cityscapes: <name>_gtFine_labelIds.png, _labelTrainIds.png or _polygons.json, for <name>_leftImg8bit.

Of the 34 label ids (-1 to 33) nineteen are classes ("train ids"); the others count as unlabelled and are
told with their pixels. Both are facts of the data set's published label table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

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
    blank,
    files,
    number_or_none,
    output_path,
    paint,
    plain,
    read_json,
    relative,
    size_in,
)
from segstudio.core.formats.outlines import polygon_mask
from segstudio.core.label_map import ignore_value
from segstudio.core.records import LabelClass, printable
from segstudio.core.taxonomies import load_taxonomy

TRAIN_ID_OF_LABEL_ID = {
    label: train
    for train, label in enumerate((7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33))
}
_LARGEST_LABEL_ID = 33
_ENDINGS = tuple(f"_gt{quality}_labelIds" for quality in ("Fine", "Coarse"))
_TRAIN_ENDINGS = tuple(f"_gt{quality}_labelTrainIds" for quality in ("Fine", "Coarse"))
_POLYGON_ENDINGS = tuple(f"_gt{quality}_polygons.json" for quality in ("Fine", "Coarse"))
_IMAGE_ENDING = "_leftImg8bit"


def cityscapes_classes() -> tuple[LabelClass, ...]:
    """The 19 classes by their train ids."""
    entries = enumerate(load_taxonomy("cityscapes").classes)
    return tuple(LabelClass(index, entry.name, entry.color) for index, entry in entries)


def read(source: Path, *, classes: Sequence[LabelClass] = (), size_of: SizeOf | None = None) -> Imported:
    """Reads train id pictures where there are any, else label id pictures, else polygon files.

    The classes of `classes` are matched by name. Raises UserError where none of the three is found.
    """
    numbers = ClassNumbers(classes)
    own = [numbers.number(entry.name, wanted=entry.id, color=entry.color) for entry in cityscapes_classes()]
    everywhere = {value: -1 for value in range(255)}
    for endings, values in (
        (_TRAIN_ENDINGS, everywhere | dict(enumerate(own))),
        (_ENDINGS, everywhere | {label: own[train] for label, train in TRAIN_ID_OF_LABEL_ID.items()}),
    ):
        try:
            found = index_pictures.read(
                source, classes=numbers.classes, size_of=_by_image(size_of), values=values, endings=endings
            )
        except UserError:
            continue
        return Imported(
            numbers, (Labels(item.image + _IMAGE_ENDING, item.array) for item in found.items), found.notes
        )
    paths = [path for path in files(source, ".json") if path.name.endswith(_POLYGON_ENDINGS)]
    if not paths:
        raise UserError("There are no Cityscapes labels", where=f"in {printable(str(source))}")
    result = Imported(numbers, iter(()))
    result.items = _read_polygons(paths, source, numbers, result.notes)
    return result


def _by_image(size_of: SizeOf | None) -> SizeOf | None:
    return None if size_of is None else lambda stem: size_of(stem + _IMAGE_ENDING)


def _read_polygons(
    paths: list[Path], source: Path, numbers: ClassNumbers, notes: list[Note]
) -> Iterator[Labels]:
    known = {plain(entry.name): entry.id for entry in numbers.classes}
    for path in paths:
        name = relative(path, source)
        try:
            document = read_json(path)
            size = size_in(document, "imgWidth", "imgHeight")
            if size is None or not isinstance(document.get("objects"), list):
                raise ValueError("it has no size or no objects")
            array = blank(*size)
            left_out: dict[str, int] = {}
            for entry in document["objects"]:
                if entry.get("deleted"):
                    continue
                label = str(entry.get("label", ""))
                ring = [(number_or_none(x), number_or_none(y)) for x, y in entry["polygon"]]
                mask = polygon_mask(*size, [[(x, y) for x, y in ring if x is not None and y is not None]])
                index = known.get(plain(label.removesuffix("group")))
                if index is None:
                    array[mask] = ignore_value(array.dtype)
                    left_out[label] = left_out.get(label, 0) + int(mask.sum())
                else:
                    array, _ = paint(array, mask, index)
        except UserError as error:
            notes.append(Note(name, str(error)))
            continue
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            notes.append(Note(name, f"it cannot be used: {error}"))
            continue
        for label, pixels in sorted(left_out.items()):
            notes.append(Note(name, f'"{label}" ({pixels} px) is no class of the evaluation: unlabelled'))
        ending = next(ending for ending in _POLYGON_ENDINGS if name.endswith(ending))
        yield Labels(name.removesuffix(ending) + _IMAGE_ENDING, array)


def write(target: Path, classes: Sequence[LabelClass], items: Iterable[Labels]) -> list[Note]:
    """Writes <name>_gtFine_labelTrainIds.png; classes that Cityscapes lacks are told and written as 255."""
    own = {plain(entry.name): entry for entry in cityscapes_classes()}
    values = {entry.id: own[plain(entry.name)].id if plain(entry.name) in own else -1 for entry in classes}
    palette = index_pictures.palette_of(cityscapes_classes())
    left_out = LeftOut([entry for entry in classes if values[entry.id] < 0], "Cityscapes")
    notes: list[Note] = []
    for item in items:
        name = item.image.rpartition(".")[0] or item.image
        path = output_path(target, name.removesuffix(_IMAGE_ENDING) + "_gtFine_labelTrainIds.x", ".png")
        numbers = ClassNumbers(cityscapes_classes())
        array = index_pictures.mapped(left_out.without(item.array), numbers, values, item.image, notes)
        atomic_file.write_bytes(path, palette_png.encode(array, palette))
    return [*left_out.notes(), *notes]
