"""How much memory one forward pass needs, told from two small ones.

Convolutions grow with the number of pixels, attention with its square: the peaks of two sizes give both
coefficients.
"""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass(frozen=True)
class Footprint:
    """Bytes of activations of a pass over n pixels: linear * n + square * n^2."""

    linear: float
    square: float

    def nbytes(self, pixels: float) -> float:
        return self.linear * pixels + self.square * pixels * pixels

    def pixels(self, nbytes: float) -> float:
        """The most pixels that fit into `nbytes`."""
        if self.square <= 0:
            return nbytes / max(self.linear, 1e-9)
        half = self.linear / (2 * self.square)
        return (half * half + nbytes / self.square) ** 0.5 - half


def fit(small: tuple[int, float], large: tuple[int, float]) -> Footprint:
    """From two measured (pixels, peak bytes), the second one of more pixels."""
    (n, p), (m, q) = small, large
    square = max(0.0, (q / m - p / n) / (m - n))
    linear = max(1.0, q / m - square * m)
    return Footprint(linear, square)


class PeakMeter(TorchDispatchMode):
    """While active, `peak` follows the bytes of all live tensors made by operations in it."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._live = 0
        self._known: set[int] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Where this is true, torch imports its compiler at the first operation: 2 s of a first run.
        return False

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        output = function(*arguments, **(keywords or {}))
        for tensor in output if isinstance(output, tuple | list) else (output,):
            # Weights in oneDNN's own order have no storage; they are no activations either.
            if isinstance(tensor, Tensor) and tensor.layout is torch.strided:
                self._count(tensor)
        return output

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        pointer = storage.data_ptr()
        if pointer in self._known or pointer == 0:
            return
        nbytes = storage.nbytes()
        self._known.add(pointer)
        self._live += nbytes
        self.peak = max(self.peak, self._live)
        # Views share a storage: it, and not the tensor, says when the memory is free again.
        weakref.finalize(storage, self._forget, pointer, nbytes)

    def _forget(self, pointer: int, nbytes: int) -> None:
        if pointer in self._known:
            self._known.discard(pointer)
            self._live -= nbytes


def measure(run: Any, sizes: tuple[int, int]) -> Footprint:
    """`run(side)` does one pass over side x side pixels; `sizes` are the two sides, smaller first."""
    points = []
    for side in sizes:
        gc.collect()
        meter = PeakMeter()
        with torch.no_grad(), meter:
            run(side)
        points.append((side * side, float(meter.peak)))
    return fit(points[0], points[1])
