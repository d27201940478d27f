"""Windows over the window: palette, key sheet, settings, folder and import."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_TITLES = {
    "labelme": "labelme JSON",
    "palette_png": "Index PNG",
    "coco": "COCO",
    "voc": "VOC PNG",
    "cityscapes": "Cityscapes",
    "ade20k": "ADE20K",
    "yolo": "YOLO-seg",
    "cvat": "CVAT XML",
    "label_studio": "Label Studio",
    "color_png": "Colour PNG",
    "npy": "NPY",
    "tiff": "TIFF",
}


def formats_offered() -> list[str]:
    """Titles of the formats in core/formats that the import dialog can read, without importing them."""
    found = importlib.util.find_spec("segstudio.core.formats")
    if found is None or not found.submodule_search_locations:
        return []
    present = {
        path.stem for folder in found.submodule_search_locations for path in Path(folder).glob("[a-z]*.py")
    }
    return [title for name, title in _TITLES.items() if name in present]
