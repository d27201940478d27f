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
    """Follows the bytes of all tensors that operations in it make and that are gone when it ends.

    What outlives the pass is no activation: weights brought into another form, which later passes reuse.
    """

    def __init__(self) -> None:
        super().__init__()
        self._alive: dict[int, int] = {}  # address of a storage -> its number
        self._events: list[tuple[int, int]] = []  # number of a storage, bytes it took or gave back

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

    def peak(self) -> int:
        """The most bytes at one time, of what is gone by now."""
        kept = set(self._alive.values())
        live = highest = 0
        for number, nbytes in self._events:
            if number not in kept:
                live += nbytes
                highest = max(highest, live)
        return highest

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        pointer, nbytes = storage.data_ptr(), storage.nbytes()
        if pointer in self._alive or pointer == 0:
            return
        number = len(self._events)
        self._alive[pointer] = number
        self._events.append((number, nbytes))
        # Views share a storage: it, and not the tensor, says when the memory is free again.
        weakref.finalize(storage, self._forget, pointer, nbytes)

    def _forget(self, pointer: int, nbytes: int) -> None:
        number = self._alive.pop(pointer, None)
        if number is not None:
            self._events.append((number, -nbytes))


def measure(run: Any, sizes: tuple[int, int]) -> Footprint:
    """`run(side)` does one pass over side x side pixels; `sizes` are the two sides, smaller first."""
    points = []
    for side in sizes:
        gc.collect()
        meter = PeakMeter()
        with torch.no_grad(), meter:
            run(side)
        points.append((side * side, float(meter.peak())))
    return fit(points[0], points[1])
