"""What one run of a model gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segstudio.plugin_api import TaxonomyClass
from segstudio.worker.precision import Agreement


@dataclass
class PredictionResult:
    """`label_map` (H, W) uint8, or uint16 for more than 256 classes; `confidence` and `entropy` (H, W) uint8,
    0..255 for 0..1, or None. `seconds` is all of it, `forward_seconds` the network alone. `agreement` with
    float32 is known where the `precision` is another. `from_labels`: a switched part knew the labels.
    `first_of_size`: the network had not run on this size before, and took longer than it will from now on.
    """

    label_map: NDArray[Any]
    confidence: NDArray[np.uint8] | None
    entropy: NDArray[np.uint8] | None
    classes: tuple[TaxonomyClass, ...]
    device: str
    seconds: float
    forward_seconds: float
    tiles: int
    tile_size: tuple[int, int]
    parameters: int
    peak_bytes: int
    preprocess_source: str
    not_as_trained: bool
    notes: list[str] = field(default_factory=list)
    precision: str = "float32"
    agreement: Agreement | None = None
    from_labels: bool = False
    first_of_size: bool = False
