"""From stored samples (8, 12, 16, 32 bits, float, any number of channels) to 8-bit RGB.

What a network sees is a fixed rule (`NetworkView`); what a person sees is a slider (`DisplayRange`). The
two never mix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

SampleKind = Literal["uint", "int", "float"]

_SAMPLED = 1_000_000
"""Percentiles of larger images are taken from about this many pixels on a regular grid."""


@dataclass(frozen=True, slots=True)
class Raster:
    """Decoded samples (H, W, C), upright. `alpha` says that the last channel is opacity.

    `bits` is what a sample uses of its type, for instance 12 of uint16.
    """

    samples: NDArray[Any]
    bits: int
    kind: SampleKind
    alpha: bool = False

    @property
    def plain(self) -> bool:
        """Whether the samples are ordinary 8-bit ones, which no range applies to."""
        return self.samples.dtype == np.uint8 and self.bits == 8


@dataclass(frozen=True, slots=True)
class DisplayRange:
    """The samples shown as black and as white."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class NetworkView:
    """What a network sees of an image that is not plain 8-bit RGB.

    `range` "type": all values the samples can take (floats: 0 to 1 where they lie within, else their own
    extremes); "percentile": `percent` to 100 - `percent` of this image; "given": `low` to `high`.
    `channels` are the three taken as red, green, blue; None = the first three, or the only one.
    Transparent pixels are black.
    """

    channels: tuple[int, int, int] | None = None
    range: Literal["type", "percentile", "given"] = "type"
    low: float = 0.0
    high: float = 1.0
    percent: float = 0.5


def display_range(raster: Raster, percent: float = 0.5) -> DisplayRange | None:
    """The range from `percent` to 100 - `percent` of the colour samples; None for plain 8-bit samples."""
    if raster.plain:
        return None
    colors = raster.samples[..., : raster.samples.shape[2] - int(raster.alpha)]
    step = max(1, round((colors.shape[0] * colors.shape[1] / _SAMPLED) ** 0.5))
    values = colors[::step, ::step].ravel()
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    if values.size == 0:
        return DisplayRange(0.0, 1.0)
    low, high = np.percentile(values, (percent, 100 - percent))
    return DisplayRange(float(low), float(high) if high > low else float(low) + 1.0)


def type_range(raster: Raster) -> DisplayRange:
    """All values that the samples can take; for floats see `NetworkView`."""
    if raster.kind == "uint":
        return DisplayRange(0.0, float(2**raster.bits - 1))
    if raster.kind == "int":
        return DisplayRange(-float(2 ** (raster.bits - 1)), float(2 ** (raster.bits - 1) - 1))
    finite = raster.samples[np.isfinite(raster.samples)]
    if finite.size == 0 or (finite.min() >= 0 and finite.max() <= 1):
        return DisplayRange(0.0, 1.0)
    low, high = float(finite.min()), float(finite.max())
    return DisplayRange(low, high if high > low else low + 1.0)


def network_rgb(raster: Raster, view: NetworkView) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB as the rule `view` says. Raises ValueError for a channel that does not exist."""
    if raster.plain:
        chosen = None
    elif view.range == "given":
        chosen = DisplayRange(view.low, view.high)
    elif view.range == "percentile":
        chosen = display_range(raster, view.percent)
    else:
        chosen = type_range(raster)
    return rgb(raster, chosen, view.channels)


def rgb(
    raster: Raster,
    shown: DisplayRange | None,
    channels: tuple[int, int, int] | None = None,
    *,
    background: int = 0,
) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB with `shown` spread over 0-255 (None: samples are taken as they are).

    Transparent pixels are mixed with the grey `background`.
    """
    samples = raster.samples
    colors = samples.shape[2] - int(raster.alpha)
    if channels is None:
        channels = (0, 1, 2) if colors >= 3 else (0, 0, 0)
    if max(channels) >= samples.shape[2]:
        raise ValueError(f"channel {max(channels)} of an image with {samples.shape[2]} channels")
    if channels == (0, 1, 2) and samples.shape[2] == 3:
        picked = samples
    elif len(set(channels)) == 1:
        gray = _spread(samples[..., channels[0]], shown)
        return _over(cv2.cvtColor(np.ascontiguousarray(gray), cv2.COLOR_GRAY2RGB), raster, background)
    else:
        picked = samples[..., list(channels)]
    return _over(np.ascontiguousarray(_spread(picked, shown)), raster, background)


def _spread(values: NDArray[Any], shown: DisplayRange | None) -> NDArray[np.uint8]:
    if shown is None:
        return values.astype(np.uint8, copy=False)
    if values.dtype in (np.uint8, np.uint16):
        levels = np.arange(np.iinfo(values.dtype).max + 1, dtype=np.float64)
        table: NDArray[np.uint8] = _scaled(levels, shown)[values]
        return table
    result = np.empty(values.shape, np.uint8)
    rows = max(1, (1 << 20) // max(1, int(np.prod(values.shape[1:]))))
    for start in range(0, len(values), rows):
        result[start : start + rows] = _scaled(values[start : start + rows].astype(np.float64), shown)
    return result


def _scaled(values: NDArray[np.float64], shown: DisplayRange) -> NDArray[np.uint8]:
    span = shown.high - shown.low
    unit = np.nan_to_num((values - shown.low) / (span if span > 0 else 1.0), nan=0.0, posinf=1.0, neginf=0.0)
    return np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8)


def _over(colors: NDArray[np.uint8], raster: Raster, background: int) -> NDArray[np.uint8]:
    if not raster.alpha:
        return colors
    alpha = raster.samples[..., -1]
    if not raster.plain:
        alpha = _spread(alpha, type_range(raster))
    if int(alpha.min()) == 255:
        return colors
    opaque = cv2.cvtColor(np.ascontiguousarray(alpha), cv2.COLOR_GRAY2RGB)
    result: NDArray[np.uint8] = cv2.multiply(colors, opaque, scale=1 / 255)
    if background:
        result += cv2.multiply(np.full_like(colors, background), 255 - opaque, scale=1 / 255)
    return result
