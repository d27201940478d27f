"""Reading images: the one loader for the reader process, the worker, training and the command line.

What a file is, its content decides. Every image comes upright (EXIF and XMP orientation). Size limits are
checked in the header before anything is decoded, and whatever goes wrong becomes one UserError sentence.
Never called on a person's files in the window's process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from segstudio.core import image_decoding
from segstudio.core.errors import UserError
from segstudio.core.folder_scan import IMAGE_SUFFIXES
from segstudio.core.image_decoding import FileFacts
from segstudio.core.pixel_range import DisplayRange, NetworkView, display_range, network_rgb, rgb
from segstudio.core.pyramid import fill_smaller_levels, level_sizes, level_views, levels_nbytes
from segstudio.core.records import printable

__all__ = [
    "IMAGE_SUFFIXES",
    "DisplayRange",
    "ImageHeader",
    "NetworkView",
    "fill_levels",
    "level_sizes",
    "level_views",
    "levels_nbytes",
    "read_header",
    "read_range",
    "read_reduced",
    "read_rgb",
    "read_thumbnail",
]

TRANSPARENT_GRAY = 0x77
"""A person sees transparent areas grey, so that black on transparent shows; networks see them black."""

LARGEST_PIXELS = 250_000_000
LARGEST_BYTES = 3 << 30
_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What a file says about one page: `width` and `height` in pixels once upright.

    `bits` a sample, `kind` "uint", "int" or "float", `pages` frames or pages in the file, `bytes` its size.
    """

    width: int
    height: int
    channels: int
    bits: int
    kind: str
    format: str
    pages: int
    orientation: int
    bytes: int

    @property
    def has_range(self) -> bool:
        """Whether a display range applies: samples of more than 8 bits, or not unsigned."""
        return self.bits > 8 or self.kind != "uint"


def read_header(path: Path | str, page: int = 0) -> ImageHeader:
    """The header alone, without decoding. Raises UserError: unreadable, no image, broken, too large."""
    path = Path(path)
    facts, size = _facts(path, page)
    width, height = _upright_size(facts)
    return ImageHeader(
        width,
        height,
        facts.channels,
        facts.bits,
        facts.kind,
        facts.format,
        facts.pages,
        facts.orientation,
        size,
    )


def read_rgb(path: Path | str, *, page: int = 0, view: NetworkView | None = None) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB, upright, as networks see it under the rule `view`. Raises UserError."""
    path = Path(path)
    facts, _ = _facts(path, page)
    with _told(path):
        return network_rgb(image_decoding.decode(path, facts, page), view or NetworkView())


def read_range(path: Path | str, *, page: int = 0, percent: float = 0.5) -> DisplayRange | None:
    """The range of samples worth showing; None for plain 8-bit images. Raises UserError."""
    path = Path(path)
    facts, _ = _facts(path, page)
    with _told(path):
        return display_range(image_decoding.decode(path, facts, page), percent)


def read_reduced(
    path: Path | str, factor: int, *, page: int = 0, shown: DisplayRange | None = None
) -> NDArray[np.uint8]:
    """(h, w, 4) uint8 BGRA, upright, with sides 1/2, 1/4 or 1/8 (rounded up).

    A JPEG is decoded at that size, which is many times faster than decoding it whole. Raises UserError.
    """
    if factor not in _REDUCED:
        raise ValueError(f"factor {factor} is none of 2, 4, 8")
    path = Path(path)
    facts, _ = _facts(path, page)
    with _told(path):
        if _is_plain_jpeg(facts, page):
            bgr = image_decoding.decode_jpeg(path, _REDUCED[factor])
            return image_decoding.upright(cv2.cvtColor(bgr, cv2.COLOR_BGR2BGRA), facts.orientation)
        bgra = _bgra(path, facts, page, shown)
        size = (-(-bgra.shape[1] // factor), -(-bgra.shape[0] // factor))
        result: NDArray[np.uint8] = cv2.resize(bgra, size, interpolation=cv2.INTER_AREA)
        return result


def read_thumbnail(path: Path | str, size: int, *, page: int = 0) -> NDArray[np.uint8]:
    """(h, w, 4) uint8 BGRA, upright, the longer side at most `size` pixels. Raises UserError."""
    path = Path(path)
    facts, _ = _facts(path, page)
    longest = max(facts.width, facts.height)
    with _told(path):
        if _is_plain_jpeg(facts, page):
            factor = next((f for f in (8, 4, 2) if longest >= f * size), 0)
            flags = _REDUCED.get(factor, cv2.IMREAD_COLOR)
            bgr = image_decoding.decode_jpeg(path, flags)
            bgra = image_decoding.upright(cv2.cvtColor(bgr, cv2.COLOR_BGR2BGRA), facts.orientation)
        else:
            bgra = _bgra(path, facts, page, None)
        scale = min(1.0, size / max(bgra.shape[:2]))
        width, height = (max(1, round(side * scale)) for side in (bgra.shape[1], bgra.shape[0]))
        if (width, height) == (bgra.shape[1], bgra.shape[0]):
            return bgra
        result: NDArray[np.uint8] = cv2.resize(bgra, (width, height), interpolation=cv2.INTER_AREA)
        return result


def fill_levels(
    path: Path | str,
    out: NDArray[np.uint8],
    *,
    page: int = 0,
    shown: DisplayRange | None = None,
    progress: Callable[[float], None] | None = None,
) -> DisplayRange | None:
    """Fills the flat buffer `out` with the BGRA pyramid and gives the display range that was used.

    `out` has `levels_nbytes(width, height)` bytes for the upright size. `shown` None chooses the range.
    Raises UserError, also where the file is no longer of that size.
    """
    path = Path(path)
    facts, _ = _facts(path, page)
    width, height = _upright_size(facts)
    if out.size != levels_nbytes(width, height):
        raise UserError(
            f"The picture is {width}x{height} now, which is not the size it had",
            where=f"in {printable(str(path))}",
            action="Open it again.",
        )
    first = next(level_views(out, width, height))
    with _told(path):
        if _is_plain_jpeg(facts, page):
            bgr = image_decoding.upright(
                image_decoding.decode_jpeg(path, cv2.IMREAD_COLOR), facts.orientation
            )
            used = None
            cv2.cvtColor(bgr, cv2.COLOR_BGR2BGRA, first)
        else:
            raster = image_decoding.decode(path, facts, page)
            used = None if raster.plain else shown or display_range(raster)
            cv2.cvtColor(rgb(raster, used, background=TRANSPARENT_GRAY), cv2.COLOR_RGB2BGRA, first)
        if progress is not None:
            progress(0.75)
        fill_smaller_levels(out, width, height)
    return used


def _bgra(path: Path, facts: FileFacts, page: int, shown: DisplayRange | None) -> NDArray[np.uint8]:
    raster = image_decoding.decode(path, facts, page)
    used = None if raster.plain else shown or display_range(raster)
    result: NDArray[np.uint8] = cv2.cvtColor(
        rgb(raster, used, background=TRANSPARENT_GRAY), cv2.COLOR_RGB2BGRA
    )
    return result


def _is_plain_jpeg(facts: FileFacts, page: int) -> bool:
    return facts.format in ("JPEG", "MPO") and facts.mode != "CMYK" and page == 0


def _upright_size(facts: FileFacts) -> tuple[int, int]:
    if facts.orientation >= 5:
        return facts.height, facts.width
    return facts.width, facts.height


def _facts(path: Path, page: int) -> tuple[FileFacts, int]:
    with _told(path):
        size = path.stat().st_size
        if size == 0:
            raise UserError("The file is empty", where=f"({printable(str(path))})")
        facts = image_decoding.read_facts(path, None, page)
    if facts.width < 1 or facts.height < 1:
        raise UserError("The image has no pixels", where=f"({printable(str(path))})")
    pixels = facts.width * facts.height
    if pixels > LARGEST_PIXELS or pixels * facts.channels * max(1, facts.bits // 8) > LARGEST_BYTES:
        raise UserError(
            f"The image is {facts.width}x{facts.height} pixels ({pixels / 1e6:.0f} megapixels), too large",
            where=f"({printable(str(path))})",
            action=f"SegStudio opens up to {LARGEST_PIXELS // 1_000_000} megapixels; cut it into parts.",
        )
    return facts, size


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Makes one sentence of whatever a decoder raises."""
    name = printable(str(path))
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError("The file is gone", where=f"({name})", action="Scan the folder again.") from error
    except PermissionError as error:
        raise UserError("The file may not be read", where=f"({name})", details=str(error)) from error
    except MemoryError as error:
        raise UserError(
            "There is not enough memory for the image", where=f"({name})", action="Close other programs."
        ) from error
    except Exception as error:  # decoders raise anything on hostile files
        raise UserError(
            "The file is no image, or a damaged one",
            where=f"({name})",
            action="Replace it by a good copy.",
            details=f"{type(error).__name__}: {error}",
        ) from error
