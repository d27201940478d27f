"""Decoding of image files by content: which library reads what, and turning upright.

JPEG goes to OpenCV (fast, reduced sizes), samples of more than 8 bits to tifffile or OpenCV, everything else
to Pillow. Decoders raise all kinds of exceptions on hostile files; `segstudio.core.images` makes one
sentence of them. Never called in the window's process.
"""

from __future__ import annotations

import io
import logging
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TgaImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from segstudio.core.pixel_range import Raster, SampleKind

_log = logging.getLogger(__name__)

# Our own limits come first, from the header, and with a sentence of their own.
Image.MAX_IMAGE_PIXELS = None

# Pillow tries only the decoders named here; the many others are not even imported.
_DECODERS = {
    "JPEG": JpegImagePlugin,
    "PNG": PngImagePlugin,
    "TIFF": TiffImagePlugin,
    "WEBP": WebPImagePlugin,
    "BMP": BmpImagePlugin,
    "GIF": GifImagePlugin,
    "PPM": PpmImagePlugin,
    "JPEG2000": Jpeg2KImagePlugin,
    "AVIF": AvifImagePlugin,
    "TGA": TgaImagePlugin,
}
_FORMATS = tuple(name for name in _DECODERS if name != "TGA" and name in Image.OPEN)
_ORIENTATION = 0x0112
_BITS_PER_SAMPLE, _SAMPLES_PER_PIXEL, _SAMPLE_FORMAT = 258, 277, 339
_KINDS: dict[int, SampleKind] = {1: "uint", 2: "int", 3: "float"}
_MODE_BITS = {"1": 1, "I": 32, "F": 32, "I;16": 16, "I;16B": 16, "I;16L": 16, "I;16N": 16}


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What the header says, before orientation is applied. `by_tifffile`: Pillow does not know the layout."""

    width: int
    height: int
    channels: int
    bits: int
    kind: SampleKind
    format: str
    pages: int
    orientation: int
    mode: str
    by_tifffile: bool = False


def read_facts(path: Path, data: bytes | None, page: int) -> FileFacts:
    """The header of one page. `data` is the file's content where it is already in memory."""
    source: Any = path if data is None else io.BytesIO(data)
    formats = (*_FORMATS, "TGA") if path.suffix.lower() == ".tga" else _FORMATS  # TGA has no signature
    try:
        image = Image.open(source, formats=formats)
    except UnidentifiedImageError:
        return _tiff_facts(path, page)
    with image:
        pages = int(getattr(image, "n_frames", 1))
        if not 0 <= page < pages:
            raise ValueError(f"page {page} of {pages}")
        if page:
            image.seek(page)
        kind, bits, channels = _samples(image, path, data)
        # Pillow turns TIFF upright by itself, and gives the size accordingly.
        orientation = 1 if image.format == "TIFF" else _orientation(image)
        return FileFacts(
            image.width,
            image.height,
            channels,
            bits,
            kind,
            image.format or "",
            pages,
            orientation,
            image.mode,
        )


def _samples(image: Image.Image, path: Path, data: bytes | None) -> tuple[SampleKind, int, int]:
    channels = 4 if image.mode == "CMYK" else len(image.getbands())
    if image.mode == "P":
        channels = 4 if "transparency" in image.info else 3
    bits = _MODE_BITS.get(image.mode, 8)
    kind: SampleKind = "float" if image.mode == "F" else "uint"
    if image.format == "PNG":
        bits = _png_bits(path, data)
    elif image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        bits = int(max(tags.get(_BITS_PER_SAMPLE, (bits,))))
        kind = _KINDS.get(int(tags.get(_SAMPLE_FORMAT, (1,))[0]), "uint")
        if image.mode != "P":
            channels = max(channels, int(tags.get(_SAMPLES_PER_PIXEL, 1)))
    return kind, bits, channels


def _png_bits(path: Path, data: bytes | None) -> int:
    if data is None:
        with path.open("rb") as file:
            data = file.read(25)
    return data[24]


def _orientation(image: Image.Image) -> int:
    try:
        value = int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001  (a broken EXIF block must not hide a good picture)
        return 1
    return value if 1 <= value <= 8 else 1


def _tiff_file(path: Path) -> Any:
    # Imported here: the engine also runs in environments without tifffile, and few pictures need it.
    import tifffile

    return tifffile.TiffFile(path)


def _tiff_facts(path: Path, page: int) -> FileFacts:
    with _tiff_file(path) as file:
        if not 0 <= page < len(file.pages):
            raise ValueError(f"page {page} of {len(file.pages)}")
        leaf: Any = file.pages[page]
        kinds: dict[str, SampleKind] = {"f": "float", "i": "int"}
        dtype = np.dtype(leaf.dtype)
        tag = leaf.tags.get(_ORIENTATION)
        orientation = int(tag.value) if tag is not None else 1
        return FileFacts(
            int(leaf.imagewidth),
            int(leaf.imagelength),
            int(leaf.samplesperpixel),
            dtype.itemsize * 8,
            kinds.get(dtype.kind, "uint"),
            "TIFF",
            len(file.pages),
            orientation,
            "",
            by_tifffile=True,
        )


def decode(path: Path, facts: FileFacts, page: int) -> Raster:
    """All samples of one page, upright."""
    if facts.format in ("JPEG", "MPO") and facts.mode != "CMYK" and page == 0:
        bgr = decode_jpeg(path, cv2.IMREAD_COLOR)
        return Raster(upright(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), facts.orientation), 8, "uint")
    if facts.by_tifffile:
        with _tiff_file(path) as file:
            return _upright_raster(_channels_last(file.pages[page]), facts)
    if facts.format == "PNG" and facts.bits == 16 and facts.channels > 1 and page == 0:
        return _deep_png(path, facts)
    if facts.format == "TIFF" and (facts.bits > 8 or facts.kind != "uint" or facts.channels > 4):
        deep = _deep_tiff(path, facts, page)
        if deep is not None:
            return deep
    return _by_pillow(path, facts, page)


def _upright_raster(samples: NDArray[Any], facts: FileFacts) -> Raster:
    if samples.dtype.kind == "f" and samples.dtype.itemsize != 4:
        samples = samples.astype(np.float32)
    return Raster(upright(samples, facts.orientation), facts.bits, facts.kind)


def decode_jpeg(path: Path, flags: int) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 BGR, not turned upright. Raises ValueError where the file is cut off."""
    data = np.fromfile(path, np.uint8)
    if not _has_jpeg_end(data):
        # A file without its last two bytes may still be whole: Pillow says so or raises.
        with Image.open(path, formats=("JPEG",)) as image:
            image.load()
    result = cv2.imdecode(data, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    if result is None:
        raise ValueError("the JPEG data cannot be decoded")
    return result  # type: ignore[no-any-return]


def _has_jpeg_end(data: NDArray[np.uint8]) -> bool:
    """Whether an end marker follows the first scan (ITU T.81, annex B); a thumbnail has its own before."""
    content = data.data
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0xDA:
            tail = max(at, len(content) - 65536)
            return bytes(content[tail:]).rfind(b"\xff\xd9") >= 0 or bytes(content[at:]).find(b"\xff\xd9") >= 0
        at += 2 + struct.unpack(">H", content[at + 2 : at + 4])[0]
    return False


def _deep_png(path: Path, facts: FileFacts) -> Raster:
    samples = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if samples is None or samples.ndim != 3:
        raise ValueError("the PNG data cannot be decoded")
    with Image.open(path, formats=("PNG",)) as image:
        image.load()  # OpenCV fills the rest of a cut file with zeros; Pillow says so
        alpha = image.mode in ("RGBA", "LA") or "transparency" in image.info
    order = cv2.COLOR_BGRA2RGBA if samples.shape[2] == 4 else cv2.COLOR_BGR2RGB
    turned = upright(cv2.cvtColor(samples, order), facts.orientation)
    return Raster(turned, samples.dtype.itemsize * 8, "uint", alpha and samples.shape[2] == 4)


def _deep_tiff(path: Path, facts: FileFacts, page: int) -> Raster | None:
    """Samples of more than 8 bits; None where only Pillow may know the layout."""
    try:
        with _tiff_file(path) as file:
            leaf = file.pages[page]
            tag = leaf.tags.get(_ORIENTATION)
            turned = upright(_channels_last(leaf), int(tag.value) if tag is not None else 1)
            return Raster(turned, facts.bits, facts.kind, _tiff_alpha(leaf))
    except Exception as error:  # noqa: BLE001  (a compression it lacks, a tag it refuses: others may read it)
        _log.info("tifffile does not read %s: %s", path, error)
    found, pages = cv2.imdecodemulti(
        np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED, range=(page, page + 1)
    )
    if not found or not pages or pages[0].dtype == np.uint8:
        return None
    samples = pages[0] if pages[0].ndim == 3 else pages[0][..., None]
    if samples.shape[2] >= 3:
        order = cv2.COLOR_BGRA2RGBA if samples.shape[2] == 4 else cv2.COLOR_BGR2RGB
        samples = cv2.cvtColor(samples, order)
    return Raster(samples, facts.bits, facts.kind)


def _channels_last(leaf: Any) -> NDArray[Any]:
    """The samples of one tifffile page as (H, W, C), whichever way they are stored."""
    samples: NDArray[Any] = leaf.asarray()
    if samples.ndim == 3 and int(getattr(leaf, "planarconfig", 1)) == 2:
        samples = np.moveaxis(samples, 0, 2)
    if samples.ndim == 2:
        samples = samples[..., None]
    if samples.ndim != 3:
        raise ValueError(f"pages of shape {samples.shape} are not pictures")
    if int(leaf.photometric) == 0 and samples.dtype.kind in "ub":  # white is zero
        samples = (1 - samples) if samples.dtype == bool else np.iinfo(samples.dtype).max - samples
    return np.ascontiguousarray(samples * np.uint8(255) if samples.dtype == bool else samples)


def _tiff_alpha(leaf: Any) -> bool:
    extra = tuple(int(value) for value in getattr(leaf, "extrasamples", ()))
    return bool(extra) and extra[-1] in (1, 2)


def _by_pillow(path: Path, facts: FileFacts, page: int) -> Raster:
    formats = (*_FORMATS, "TGA") if facts.format == "TGA" else _FORMATS
    with Image.open(path, formats=formats) as image:
        if page:
            image.seek(page)
        image.load()
        samples, bits, kind, alpha = _pillow_samples(image, facts)
    return Raster(upright(samples, facts.orientation), bits, kind, alpha)


def _pillow_samples(image: Image.Image, facts: FileFacts) -> tuple[NDArray[Any], int, SampleKind, bool]:
    mode = image.mode
    if mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)[..., None], min(facts.bits, 16), "uint", False
    if mode == "I":
        values = np.asarray(image)
        bits = 32 if facts.bits == 32 else 16
        if bits == 16 and int(values.min()) >= 0 and int(values.max()) <= 65535:
            return values.astype(np.uint16)[..., None], 16, "uint", False
        return values[..., None], 32, "int", False
    if mode == "F":
        return np.asarray(image)[..., None], 32, "float", False
    if mode == "LAB":
        lab = np.ascontiguousarray(np.asarray(image))
        return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), 8, "uint", False
    if mode == "L":
        return np.asarray(image)[..., None], 8, "uint", False
    if mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return np.asarray(image.convert("RGBA")), 8, "uint", True
    return np.asarray(image.convert("RGB")), 8, "uint", False


def upright(samples: NDArray[Any], orientation: int) -> NDArray[Any]:
    """(H, W) or (H, W, C) turned as the EXIF orientation 1-8 says (EXIF 2.32, tag 0x0112)."""
    if orientation == 2:
        samples = samples[:, ::-1]
    elif orientation == 3:
        samples = samples[::-1, ::-1]
    elif orientation == 4:
        samples = samples[::-1]
    elif orientation in (5, 6, 7, 8):
        samples = np.swapaxes(samples, 0, 1)
        if orientation in (6, 7):
            samples = samples[:, ::-1]
        if orientation in (7, 8):
            samples = samples[::-1]
    return np.ascontiguousarray(samples)
