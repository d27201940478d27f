"""The picture's own labels, for a switched part that works from them, such as OCRNet's true regions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from segstudio.core.errors import UserError
from segstudio.worker.loaded_models import LoadedModel
from segstudio.worker.switch_values import chosen_values
from segstudio.worker.tiles import TilePlan

UNKNOWN = -1


def wanted(loaded: LoadedModel, switches: dict[str, Any]) -> bool:
    """Whether one of the switches stands at a value that works from labels."""
    chosen = chosen_values(loaded, switches)
    return any(chosen.get(spec.id) in spec.from_labels for spec in loaded.spec.switches)


@contextmanager
def given(loaded: LoadedModel, labels: NDArray[Any] | None, plan: TilePlan) -> Iterator[None]:
    """While open, the model's `region_truth` holds `labels` (H, W), padded to the pass with "unknown".

    Raises UserError where there are none, or the picture runs in tiles.
    """
    title = loaded.spec.title
    known = None if labels is None else (labels >= 0) & (labels < loaded.num_classes)
    if labels is None or known is None or not known.any():
        raise UserError(
            f"{title} with true regions needs the picture's labels, and it has none yet",
            action="Label it, or let the regions be predicted.",
        )
    if not plan.is_whole:
        raise UserError(
            f"{title} with true regions takes a picture whole, and this one needs tiles here",
            action="Let the regions be predicted.",
        )
    truth = np.full((plan.height, plan.width), UNKNOWN, np.int64)
    truth[: labels.shape[0], : labels.shape[1]] = np.where(known, labels.astype(np.int64), UNKNOWN)
    loaded.model.region_truth = torch.from_numpy(truth)[None].to(loaded.device)
    try:
        yield
    finally:
        loaded.model.region_truth = None
