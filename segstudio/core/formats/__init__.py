"""The formats labels come and go in: one module each with `read` and `write`, listed here.

Listing loads none of them, so that the window can show the names.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType

from segstudio.core.errors import UserError


@dataclass(frozen=True, slots=True)
class Format:
    """One format. `id` is what the command line takes, `options` are passed to `write`."""

    id: str
    title: str
    module: str
    hint: str
    kind: str = ""
    exports: bool = True


FORMATS: tuple[Format, ...] = (
    Format("png", "Index PNG", "index_pictures", "A folder of palette or grey PNGs of class numbers.", "png"),
    Format("labelme", "labelme", "labelme", "JSON files of labelme beside the images."),
    Format("coco", "COCO", "coco", "One JSON with polygons or run lengths, or panoptic PNGs."),
    Format("voc", "Pascal VOC", "voc", "Palette PNGs in a folder SegmentationClass."),
    Format("cityscapes", "Cityscapes", "cityscapes", "labelIds, labelTrainIds or polygons of gtFine."),
    Format("ade20k", "ADE20K", "ade20k", "PNGs with 0 = other and 1-150 = classes."),
    Format("yolo", "YOLO segmentation", "yolo", "Text files of polygons in shares of the size."),
    Format("cvat", "CVAT XML", "cvat", "The images XML 1.1 of CVAT."),
    Format("labelstudio", "Label Studio", "label_studio", "A JSON export with polygons or brush strokes."),
    Format("colors", "Colour PNG", "color_pictures", "PNGs whose colours are those of the classes."),
    Format("png16", "16-bit PNG", "index_pictures", "Grey PNGs of 16 bits.", "png16"),
    Format("tiff", "TIFF", "index_pictures", "TIFFs of class numbers.", "tiff"),
    Format("npy", "NumPy arrays", "index_pictures", "NPY files of class numbers.", "npy"),
)


def find_format(name: str) -> Format:
    """The format of an id. Raises UserError naming all."""
    for entry in FORMATS:
        if entry.id == name.lower():
            return entry
    known = ", ".join(entry.id for entry in FORMATS)
    raise UserError(f"There is no format {name!r}", action=f"Known are {known}.")


def load_format(entry: Format) -> ModuleType:
    """The module with `read` and `write`."""
    return importlib.import_module(f"segstudio.core.formats.{entry.module}")
