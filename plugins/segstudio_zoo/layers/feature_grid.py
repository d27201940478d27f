"""How the cells of a feature map lie in the picture: what probes need to turn pixels into cells."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from segstudio.plugin_api import Query


@dataclass(frozen=True, slots=True)
class FeatureGrid:
    """`size` (rows, columns) of a feature map that spans a picture of `image` (height, width) pixels.

    With `align_corners` the centres of the corner cells lie on the corner pixels, otherwise the cells
    tile the picture: the same rule by which the network's scores are resized to it.
    """

    size: tuple[int, int]
    image: tuple[int, int]
    align_corners: bool = False

    @property
    def stride(self) -> tuple[float, float]:
        """Height and width of a cell in pixels."""
        if self.align_corners:
            down, right = (
                (pixels - 1) / (cells - 1) if cells > 1 else float(pixels)
                for pixels, cells in zip(self.image, self.size, strict=True)
            )
        else:
            down, right = (pixels / cells for pixels, cells in zip(self.image, self.size, strict=True))
        return down, right

    @property
    def offset(self) -> tuple[float, float]:
        """Where cell (0, 0) begins, in pixels."""
        if not self.align_corners:
            return 0.0, 0.0
        down, right = (
            0.5 - side / 2 if cells > 1 else 0.0 for side, cells in zip(self.stride, self.size, strict=True)
        )
        return down, right

    def cell(self, y: float, x: float) -> tuple[int, int]:
        """The (row, column) of the cell over a pixel. Raises ValueError outside the picture."""
        height, width = self.image
        if not (0 <= y < height and 0 <= x < width):
            raise ValueError(f"Query ({y:g}, {x:g}) is outside the {height}x{width} picture.")
        found = []
        for position, side, start, cells in zip((y, x), self.stride, self.offset, self.size, strict=True):
            found.append(min(max(math.floor((position - start) / side), 0), cells - 1))
        return found[0], found[1]

    def cell_of(self, query: Query) -> tuple[int, int]:
        return self.cell(query.y, query.x)


class ImageSize:
    """Height and width of the last picture a model ran on; (0, 0) before."""

    def __init__(self) -> None:
        self.size = (0, 0)


@contextmanager
def watching_image(model: nn.Module, started: list[ImageSize]) -> Iterator[None]:
    """While open, a run of `model.backbone` notes the size of its input in all of `started`."""
    trunk = getattr(model, "backbone", model)

    def note(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        height, width = arguments[0].shape[-2:]
        for watcher in started:
            watcher.size = (int(height), int(width))

    handle = trunk.register_forward_pre_hook(note)
    try:
        yield
    finally:
        handle.remove()
