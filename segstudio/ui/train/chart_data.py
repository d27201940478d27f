"""What a chart is given: lines, dots and a mark; and its numbers in few characters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = Sequence[float] | NDArray[np.float64]
Points = tuple[Values, Values]


@dataclass(frozen=True, eq=False)
class Line:
    """One curve: x in epochs, y in the chart's unit. `role` is a colour token.

    `averaged` says that neighbouring points tell nothing of their own: a pixel shows their mean. Of other
    curves every peak is drawn.
    """

    name: str
    x: Values
    y: Values
    role: str = "accent"
    dashed: bool = False
    averaged: bool = False


@dataclass(frozen=True)
class Mark:
    """A star with words at one point. On a curve that `falls` the words stand rather at its right."""

    x: float
    y: float
    text: str
    falls: bool = False


def short_number(value: float, *, exact: bool = False) -> str:
    """Few characters: 0.05, 1.2, 12, 1.5k, 2.0M, 3.1G."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (1e3 if letter == 'k' else limit):.1f}{letter}"
    if value and abs(value) < 0.001:
        return f"{value:.{2 if exact else 0}e}".replace("e-0", "e-")
    if exact:
        return (
            f"{value:.3f}"
            if 0.1 <= abs(value) < 10
            else f"{value:.3g}"
            if abs(value) < 0.1
            else f"{value:.1f}"
        )
    return f"{value:.4g}"
