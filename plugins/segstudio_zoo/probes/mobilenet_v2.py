"""MobileNetV2's argument for linear bottlenecks as a picture: figure 1 of arXiv 1801.04381.

A spiral in the plane is put into n dimensions by a random matrix, goes through ReLU and comes back by the
pseudo-inverse. With few dimensions much of it collapses; that is why projections have no activation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from torch import nn

from segstudio.plugin_api import ProbeMap, Query
from segstudio_zoo.layers.feature_grid import ImageSize, watching_image

POINTS = 600
TURNS = 3.0


class CapturedSize(ImageSize):
    """The size of the last picture; the spiral needs nothing else."""

    @property
    def nbytes(self) -> int:
        return 0


def spiral(points: int = POINTS) -> NDArray[np.float64]:
    """(points, 2): a spiral of TURNS turns inside the unit circle."""
    radius = np.linspace(0.05, 1.0, points)
    angle = 2 * np.pi * TURNS * radius
    return np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1)


def there_and_back(points: NDArray[np.float64], dimensions: int, seed: int = 0) -> NDArray[np.float64]:
    """(n, 2) -> T^-1 ReLU(T x) with a random T of `dimensions` x 2."""
    matrix = np.random.RandomState(seed).standard_normal((dimensions, 2))
    hidden = np.maximum(points @ matrix.T, 0.0)
    back: NDArray[np.float64] = hidden @ np.linalg.pinv(matrix).T
    return back


class SpiralProbe:
    """The spiral as it comes back, drawn over the picture; weight 1. Independent of all weights."""

    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[CapturedSize]:
        """While open, a run of `model` notes the picture's size."""
        captured = CapturedSize()
        with watching_image(model, [captured]):
            yield captured

    def map(self, captured: CapturedSize, query: Query, *, dimensions: int = 2, seed: int = 0) -> ProbeMap:
        """Points in a plane of the picture's size (`extras["plane"]`).

        `extras["error"]`: mean distance from the spiral (radius 1), best scaled.

        ReLU halves what it does not destroy, so the scale is left free.
        """
        height, width = captured.size
        if height == 0:
            raise ValueError("Nothing is kept yet: run the model on the picture first.")
        if dimensions < 1:
            raise ValueError(f"dimensions must be at least 1, not {dimensions}.")
        original = spiral()
        back = there_and_back(original, dimensions, seed)
        scale = 0.45 * min(height, width)
        centre = np.array([height / 2, width / 2])
        drawn = np.concatenate([centre + scale * back, np.ones((len(back), 1))], axis=1)
        factor = float((back * original).sum() / max((back * back).sum(), 1e-12))
        error = float(np.linalg.norm(factor * back - original, axis=1).mean())
        return ProbeMap(
            drawn.astype(np.float32),
            kind="points",
            extras={"dimensions": dimensions, "error": error, "plane": True},
        )


def spiral_probe() -> SpiralProbe:
    return SpiralProbe()
