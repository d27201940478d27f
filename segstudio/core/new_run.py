"""Making a run: which images, which labels, frozen so that later edits never change it.

Label maps are copied into the run folder with the run's own class indices 0 to K - 1; everything that is
ignored becomes the one ignore value of the copies.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from segstudio.core import palette_png
from segstudio.core.errors import UserError
from segstudio.core.folder_scan import IMAGE_SUFFIXES
from segstudio.core.label_map import ignore_value, label_dtype
from segstudio.core.project import Project
from segstudio.core.recipe import Recipe, RunClass
from segstudio.core.records import ImageRecord
from segstudio.core.run_folder import RunFolder, Sample

Split = Literal["train", "val"]
Tell = Callable[[float, str], None]

_NO_CLASS = -1
_VALIDATION_SHARE = 5  # every fifth image, where nobody chose


@dataclass(frozen=True)
class Pair:
    """One image file and its label file."""

    image: Path
    label: Path
    split: Split


def pairs_in_folders(image_folder: Path, label_folder: Path, split: Split) -> list[Pair]:
    """Images with a label of the same stem, sorted. Raises UserError where there are none.

    A label may lie in the same sub-folder as its image, or all labels in one folder.
    """
    labels = {path.stem: path for path in _files(label_folder, (".png",))}
    by_place = {path.relative_to(label_folder).with_suffix(""): path for path in labels.values()}
    found = []
    for path in _files(image_folder, IMAGE_SUFFIXES):
        label = by_place.get(path.relative_to(image_folder).with_suffix("")) or labels.get(path.stem)
        if label is not None and label != path:
            found.append(Pair(path, label, split))
    if not found:
        raise UserError(
            f"No image in {image_folder} has a label of the same name in {label_folder}",
            action="Labels are PNG files of class indices, named like their images.",
        )
    return found


def split_pairs(pairs: Sequence[Pair], share: float) -> list[Pair]:
    """Marks about `share` of the pairs as validation, chosen by their names, at least one of each kind."""
    if share <= 0 or len(pairs) < 2:
        return list(pairs)
    ranked = sorted(pairs, key=lambda pair: zlib.crc32(pair.image.name.encode("utf-8", "surrogateescape")))
    count = min(len(pairs) - 1, max(1, round(share * len(pairs))))
    chosen = {pair.image for pair in ranked[:count]}
    return [replace(pair, split="val") if pair.image in chosen else pair for pair in pairs]


def create_from_pairs(
    path: Path,
    recipe: Recipe,
    pairs: Sequence[Pair],
    *,
    ignored: Sequence[int] = (),
    tell: Tell = lambda fraction, text: None,
) -> RunFolder:
    """A queued run from files. Label values `ignored` and 255 are ignored, others must be classes.

    Raises UserError naming the first label that does not fit its image or the classes.
    """
    # Only here are image files looked into; the window makes runs from projects, without any decoder.
    from segstudio.core.images import read_header

    dtype = label_dtype(recipe.num_classes - 1)
    recipe = replace(recipe, ignore=ignore_value(dtype))
    table = np.full(65536, _NO_CLASS, np.int64)
    table[: recipe.num_classes] = np.arange(recipe.num_classes)
    table[[*ignored, recipe.ignore]] = recipe.ignore

    def sources() -> Iterator[tuple[Sample, NDArray[Any]]]:
        for pair in pairs:
            labels, _ = palette_png.read(pair.label)
            header = read_header(pair.image)
            if labels.shape != (header.height, header.width):
                raise UserError(
                    f"The labels are {labels.shape[1]}x{labels.shape[0]}, the image is "
                    f"{header.width}x{header.height}",
                    where=f"({pair.label})",
                    action="Labels must have the size of their image.",
                )
            mapped = table[labels]
            if (mapped == _NO_CLASS).any():
                values, counts = np.unique(labels[mapped == _NO_CLASS], return_counts=True)
                raise UserError(
                    f"Label value {values[0]} ({counts[0]} pixels) is no class: "
                    f"there are {recipe.num_classes} (0 to {recipe.num_classes - 1})",
                    where=f"in {pair.label}",
                    action="Add the class, or ignore the value.",
                )
            sample = Sample(str(pair.image.absolute()), "", pair.split, header.width, header.height)
            yield sample, mapped.astype(dtype)

    return _create(path, recipe, sources(), len(pairs), tell)


def run_classes(project: Project) -> tuple[tuple[RunClass, ...], dict[int, int]]:
    """The classes a run of this project learns, and which project id becomes which index."""
    used = [entry for entry in project.classes if not entry.ignore]
    return (
        tuple(RunClass(entry.name, entry.color) for entry in used),
        {entry.id: index for index, entry in enumerate(used)},
    )


def labelled_images(project: Project) -> list[tuple[ImageRecord, Split]]:
    """Images with any label, each with its split: the person's choice, else every fifth is validation."""
    return _divided(
        [
            record
            for record in project.images()
            if record.status != "none"
            and not record.problem
            and any(project.class_pixels(record.id).values())
        ]
    )


def readable_images(project: Project) -> list[tuple[ImageRecord, Split]]:
    """All images that can be read, labelled or not, each with its split as in `labelled_images`."""
    return _divided([record for record in project.images() if not record.problem])


def _divided(records: list[ImageRecord]) -> list[tuple[ImageRecord, Split]]:
    chosen: list[tuple[ImageRecord, Split]] = []
    undecided = sorted(
        (record for record in records if not record.split),
        key=lambda record: zlib.crc32(record.path.encode("utf-8", "surrogateescape")),
    )
    held_out = {record.id for record in undecided[::_VALIDATION_SHARE]} if len(records) > 1 else set()
    if any(record.split == "val" for record in records):
        held_out = set()
    for record in records:
        split: Split = "val" if record.split == "val" or record.id in held_out else "train"
        chosen.append((record, split))
    return chosen


def create_from_project(
    path: Path,
    recipe: Recipe,
    project: Project,
    *,
    tell: Tell = lambda fraction, text: None,
) -> RunFolder:
    """A queued run over everything labelled in `project`. Raises UserError where nothing is."""
    classes, mapping = run_classes(project)
    dtype = label_dtype(len(classes) - 1)
    recipe = replace(recipe, classes=classes, ignore=ignore_value(dtype))
    chosen = labelled_images(project)
    table = _project_table(mapping, recipe.ignore)

    def sources() -> Iterator[tuple[Sample, NDArray[Any]]]:
        for record, split in chosen:
            labels = project.load_labels(record.id).array
            height, width = labels.shape
            sample = Sample(str(project.image_path(record.id)), "", split, width, height)
            yield sample, table[labels].astype(dtype)

    return _create(path, recipe, sources(), len(chosen), tell)


def create_pretraining_from_project(
    path: Path,
    recipe: Recipe,
    project: Project,
    *,
    tell: Tell = lambda fraction, text: None,
) -> RunFolder:
    """A queued pre-training run over all readable images of `project`, labelled or not.

    Raises UserError where there is none to train on.
    """
    chosen = readable_images(project)
    if not any(split == "train" for _, split in chosen):
        raise UserError(
            "There are no images to train on",
            where=f"in {project.folder}",
            action="Add images, or set fewer of them aside for validation.",
        )
    samples = []
    for index, (record, split) in enumerate(chosen):
        place = str(project.image_path(record.id))
        samples.append(Sample(place, "", split, record.width or 0, record.height or 0))
        tell((index + 1) / len(chosen), record.display_name)
    return RunFolder.create(path, recipe, samples)


def create_for_pretraining(
    path: Path, recipe: Recipe, images: Sequence[Path], held_out: Sequence[Path] = ()
) -> RunFolder:
    """A queued pre-training run over image files; validation is on `held_out`.

    Raises UserError naming the first file that cannot be read.
    """
    from segstudio.core.images import read_header

    samples = []
    parts: tuple[tuple[Split, Sequence[Path]], ...] = (("train", images), ("val", held_out))
    for split, files in parts:
        for file in files:
            header = read_header(file)
            samples.append(Sample(str(file.absolute()), "", split, header.width, header.height))
    return RunFolder.create(path, recipe, samples)


def images_in_folder(folder: Path, share: float = 0.0) -> tuple[list[Path], list[Path]]:
    """Image files in `folder` and below: those to train on, and about `share` held out by their names.

    Raises UserError where there are none.
    """
    files = _files(folder, IMAGE_SUFFIXES)
    if not files:
        raise UserError("There are no images", where=f"in {folder}")
    if share <= 0 or len(files) < 2:
        return files, []
    ranked = sorted(files, key=lambda file: zlib.crc32(file.name.encode("utf-8", "surrogateescape")))
    held_out = set(ranked[: min(len(files) - 1, max(1, round(share * len(files))))])
    return [file for file in files if file not in held_out], sorted(held_out)


def _project_table(mapping: Mapping[int, int], ignore: int) -> NDArray[np.int64]:
    table = np.full(65536, ignore, np.int64)
    for identifier, index in mapping.items():
        table[identifier] = index
    return table


def _create(
    path: Path,
    recipe: Recipe,
    sources: Iterator[tuple[Sample, NDArray[Any]]],
    count: int,
    tell: Tell,
) -> RunFolder:
    recipe.checked()
    folder = RunFolder(path)
    if folder.exists:
        raise UserError("There is already a run", where=f"in {folder.path}", action="Choose a new folder.")
    folder.labels.mkdir(parents=True, exist_ok=True)
    samples = []
    for index, (sample, labels) in enumerate(sources):
        name = f"labels/{index:06d}.png"
        palette_png.write(folder.path / name, labels, recipe.palette)
        samples.append(replace(sample, label=name))
        tell((index + 1) / max(1, count), Path(sample.image).name)
    return RunFolder.create(path, recipe, samples)


def _files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    if not folder.is_dir():
        raise UserError("There is no folder", where=str(folder))
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
