"""Finding the images of a folder, in the order a person expects, without leaving anything out silently."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from segstudio.core.atomic_file import TEMPORARY_PREFIX

_SUFFIXES = (
    ".jpg .jpeg .jpe .jfif .png .apng .tif .tiff .btf .webp .bmp .dib .gif .tga .ppm .pgm .pbm .pnm "
    ".mpo .jp2 .j2k .avif .exr"
)
IMAGE_SUFFIXES = frozenset(_SUFFIXES.split())
"""Suffixes that are worth a look; what a file is, its content says."""

_IMAGES = "image images img imgs jpegimages leftimg8bit pictures photos"
_LABELS = (
    "label labels mask masks annotation annotations gt gtfine gtcoarse groundtruth ground_truth "
    "segmentationclass segmentationobject segmentation segmentations"
)
_IMAGE_FOLDERS = frozenset(_IMAGES.split())
_LABEL_FOLDERS = frozenset(_LABELS.split())


@dataclass
class FoundImages:
    """`paths` relative to the folder with "/" between parts, in natural order; `skipped` (path, why)."""

    paths: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


def natural_key(path: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts "a2" before "a10", and ignores case."""
    parts = re.split(r"(\d{1,18})", path.casefold())
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part)


def find_images(folder: Path) -> FoundImages:
    """All files under `folder` with an image's suffix.

    Hidden folders are left alone, a folder reached twice through links is walked once, and a folder of
    masks beside a folder of images is reported instead of listed. Raises OSError where `folder` itself
    cannot be read.
    """
    found = FoundImages()
    seen: set[tuple[int, int]] = set()
    waiting: list[tuple[str, str]] = [(os.fspath(folder), "")]
    while waiting:
        absolute, relative = waiting.pop()
        state = Path(absolute).stat()
        if (state.st_dev, state.st_ino) in seen and state.st_ino:
            found.skipped.append((relative, "this folder was already seen through another link"))
            continue
        seen.add((state.st_dev, state.st_ino))
        try:
            with os.scandir(absolute) as listing:
                entries = list(listing)
        except OSError as error:
            if not relative:
                raise
            found.skipped.append((relative, f"the folder cannot be read ({error.strerror})"))
            continue
        names = {entry.name.casefold() for entry in entries}
        has_images = bool(names & _IMAGE_FOLDERS)
        for entry in entries:
            _sort_entry(entry, relative, has_images, found, waiting)
    found.paths.sort(key=natural_key)
    found.skipped.sort()
    return found


def would_be_found(folder: Path, path: Path) -> bool:
    """Whether `find_images(folder)` would list a picture at `path`, which need not exist yet."""
    try:
        parts = path.relative_to(folder).parts
    except ValueError:
        return False
    if path.suffix.lower() not in IMAGE_SUFFIXES or any(part.startswith(".") for part in parts):
        return False
    parent = folder
    for part in parts[:-1]:
        beside = {entry.name.casefold() for entry in parent.iterdir()} if parent.is_dir() else set()
        if part.casefold() in _LABEL_FOLDERS and beside & _IMAGE_FOLDERS:
            return False
        parent = parent / part
    return True


def _sort_entry(
    entry: os.DirEntry[str],
    relative: str,
    has_images: bool,
    found: FoundImages,
    waiting: list[tuple[str, str]],
) -> None:
    path = f"{relative}/{entry.name}" if relative else entry.name
    if entry.name.startswith((".", TEMPORARY_PREFIX)):
        return
    try:
        if entry.is_dir():
            if has_images and entry.name.casefold() in _LABEL_FOLDERS:
                found.skipped.append((path, "a folder of label pictures beside the images: import it"))
            else:
                waiting.append((entry.path, path))
        elif Path(entry.name).suffix.lower() in IMAGE_SUFFIXES:
            if entry.is_file():
                found.paths.append(path)
            else:
                found.skipped.append((path, "not a file, or a link that leads nowhere"))
    except OSError as error:
        found.skipped.append((path, error.strerror or str(error)))
