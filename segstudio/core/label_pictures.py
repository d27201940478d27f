"""Reading files that hold class indices: palette or grey PNG, TIFF, BMP, GIF, NumPy arrays.

A label picture is read as it is, never turned, scaled or mixed; anything that could change an index (JPEG,
colours, floats) is refused.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from segstudio.core import palette_png
from segstudio.core.errors import UserError
from segstudio.core.images import LARGEST_PIXELS, read_header
from segstudio.core.label_map import LabelArray
from segstudio.core.records import printable

SUFFIXES = frozenset([".png", ".tif", ".tiff", ".bmp", ".gif", ".npy"])


def read_label_picture(path: Path) -> LabelArray:
    """(H, W) uint8 or uint16 class indices. Raises UserError saying why a file cannot be one."""
    try:
        if path.suffix.lower() == ".npy":
            return as_labels(_load_array(path))
        data = path.read_bytes()
        if data.startswith(b"\x89PNG"):
            try:
                return palette_png.decode(data)[0]
            except ValueError as error:
                if "interlaced" not in str(error):
                    raise
        header = read_header(path)  # refuses bombs and what is no picture
        if header.format in ("JPEG", "MPO"):
            raise ValueError("a JPEG changes class indices when it is written")
        if header.format == "TIFF":
            try:
                return as_labels(np.asarray(tifffile.imread(path, key=0)))
            except Exception as error:
                if "imagecodecs" not in str(error):
                    raise
        with Image.open(path) as image:
            if image.mode not in ("P", "L", "1", "I;16", "I;16B", "I"):
                raise ValueError(f"it holds colours ({image.mode}) instead of class indices")
            return as_labels(np.asarray(image))
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError("There is no label file", where=f"at {printable(str(path))}") from error
    except Exception as error:  # decoders raise anything on hostile files
        raise UserError(
            f"The label picture cannot be used ({error})",
            where=f"({printable(str(path))})",
            action="Expected one class index a pixel, as palette or grey PNG, TIFF or NPY.",
        ) from error


def _load_array(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        reader = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = reader(file)
    if dtype.hasobject or int(np.prod(shape, dtype=np.float64)) > LARGEST_PIXELS:
        raise ValueError(f"an array of {shape} {dtype}")
    array: np.ndarray[tuple[int, ...], np.dtype[np.generic]] = np.load(path, allow_pickle=False)
    return array


def as_labels(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> LabelArray:
    """Any integer array (H, W) as uint8 where its values allow it, else uint16; -1 becomes unlabelled.

    Raises ValueError for other shapes, for floats that are no whole numbers and for values beyond 65535.
    """
    if array.ndim == 3 and 1 in (array.shape[0], array.shape[2]):
        array = array.reshape(array.shape[1:] if array.shape[0] == 1 else array.shape[:2])
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"an array of shape {array.shape} is no label map")
    if array.dtype == np.bool_:
        return array.astype(np.uint8)
    if array.dtype in (np.uint8, np.uint16):
        return np.ascontiguousarray(array)
    if array.dtype.kind == "f" and not bool((array == np.floor(array.astype(np.float64))).all()):
        raise ValueError("it holds fractions instead of class indices")
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{array.dtype} is no class index")
    low, high = int(array.min()), int(array.max())
    if low < -1 or high > 65535:
        raise ValueError(f"its values reach from {low} to {high}")
    narrow = high < 256
    result: LabelArray = array.astype(np.uint8 if narrow else np.uint16)
    if low == -1:
        result[array == -1] = 255 if narrow else 65535
    return result
