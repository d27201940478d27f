"""One model's answer for one image, and the key that tells it from all others."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segstudio.ipc import MappedArray
from segstudio.runtime.runnable_models import RunnableModel

Switches = Mapping[str, Any]

_LOWER = "@bfloat16"


@dataclass(frozen=True, eq=False, slots=True)
class MaskResult:
    """One model's answer for one image.

    `labels` (H, W) uint8 or uint16 in the numbering of `Predictions.space`; `confidence` and `entropy`
    (H, W) uint8, 0-255 standing for 0-1. `info` is what the worker told (milliseconds, parameters, bytes,
    FLOPs, notes). `shared` is `labels` as another process can read it.
    """

    key: str
    image_id: int
    labels: NDArray[Any]
    confidence: NDArray[np.uint8] | None
    entropy: NDArray[np.uint8] | None
    info: Mapping[str, Any]
    shared: MappedArray
    raw: MappedArray = field(repr=False)
    kept: tuple[MappedArray, ...] = field(default=(), repr=False)

    @property
    def nbytes(self) -> int:
        extra = sum(array.array.nbytes for array in self.kept)
        return (
            self.raw.array.nbytes + (self.shared.array.nbytes if self.shared is not self.raw else 0) + extra
        )


def prediction_key(runnable: RunnableModel, switches: Switches | None = None) -> str:
    """What tells results of one model, with these weights, output, input size, switches and precision."""
    changed = {name: value for name, value in sorted((switches or {}).items())}
    key = runnable.key + (f">{runnable.output}" if runnable.output else "")
    key += f"~{runnable.scale:g}" if runnable.scale != 1.0 else ""
    key += f"?{json.dumps(changed)}" if changed else ""
    weights = runnable.ref.get("weights")
    if weights:
        with contextlib.suppress(OSError):
            key += f"#{Path(str(weights)).stat().st_mtime_ns}"  # training overwrites best and last
    return key + (_LOWER if runnable.ref.get("precision") == "bfloat16" else "")


def key_of_any_precision(key: str) -> str:
    """A key of `prediction_key` without what tells float32 and bfloat16 apart."""
    return key.removesuffix(_LOWER)


def image_key(image_id: int) -> str:
    """How the worker names what it keeps of an image for probes."""
    return f"image-{image_id}"
