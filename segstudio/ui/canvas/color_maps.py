"""Colour scales of heat maps, as tables of 256 colours."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

EMBER = ("000004", "1B0C41", "4A0C6B", "781C6D", "A52C60", "CF4446", "ED6925", "FB9B06", "F7D13D", "FCFFA4")
GREY = ("000000", "FFFFFF")
SEA = ("00224E", "123570", "3B496C", "575D6D", "707173", "8A8678", "A59C74", "C3B369", "E1CC55", "FEE838")
DIVERGING = ("2166AC", "5B9BCB", "A9CFE4", "F0F0F0", "F5B98E", "DD7A3A", "B35806")

COLOR_MAPS: dict[str, tuple[str, ...]] = {"Ember": EMBER, "Grey": GREY, "Sea": SEA, "Diverging": DIVERGING}
HEAT_OPACITY = 0.88


@cache
def color_table(name: str) -> NDArray[np.uint8]:
    """(256, 3) uint8 RGB, linear between the stops of the scale `name`."""
    stops = np.array([[int(stop[i : i + 2], 16) for i in (0, 2, 4)] for stop in COLOR_MAPS[name]], float)
    at = np.linspace(0, len(stops) - 1, 256)
    table = np.stack([np.interp(at, np.arange(len(stops)), stops[:, c]) for c in range(3)], axis=1)
    rounded = np.rint(table).astype(np.uint8)
    rounded.setflags(write=False)
    return rounded


def argb_table(name: str, *, signed: bool = False, opacity: float = HEAT_OPACITY) -> list[int]:
    """256 unpremultiplied 0xAARRGGBB values: opacity rises with the value, so that zero is the image itself.

    For a signed scale zero is in the middle (entry 128) and opacity rises to both ends.
    """
    values = np.arange(256)
    share = np.abs(values - 128) / 127.0 if signed else values / 255.0
    # A low value must be faint, a middle one already well seen.
    alpha = np.rint(255 * opacity * np.clip(share, 0, 1) ** 0.6).astype(np.uint32)
    rgb = color_table(name).astype(np.uint32)
    packed = (alpha << 24) | (rgb[:, 0] << 16) | (rgb[:, 1] << 8) | rgb[:, 2]
    return [int(value) for value in packed]
