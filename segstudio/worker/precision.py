"""Numbers of 16 bits instead of 32: faster where the device multiplies them, and not quite the same scores.

float32 is the default. "bfloat16" keeps float32's range with 8 bits of precision; weights and maps take half
the memory. "float16" is for GPUs. Whoever asks for either is told how far the outcome is that of float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from segstudio.core.errors import UserError
from segstudio.plugin_api import Scores
from segstudio.worker import devices

PRECISIONS = ("float32", "bfloat16", "float16")
_CROP = 512


@dataclass(frozen=True)
class Agreement:
    """What a lower precision changes on a crop (height, width) of a picture, against float32.

    `same_pixels` is the share of pixels of the same class; `largest_gap` the largest difference of a score,
    in shares of the scores' deviation.
    """

    same_pixels: float
    largest_gap: float
    crop: tuple[int, int]

    def sentence(self, precision: str) -> str:
        return (
            f"Ran in {precision}: on {self.crop[1]} x {self.crop[0]} pixels "
            f"{100 * self.same_pixels:.2f} % get the class they get in float32, and scores differ "
            f"by at most {self.largest_gap:.3f} of their deviation"
        )

    def to_json(self) -> dict[str, object]:
        return {
            "same_pixels": self.same_pixels,
            "largest_gap": self.largest_gap,
            "crop": list(self.crop),
        }


def dtype_of(precision: str, device: torch.device) -> torch.dtype:
    """Raises UserError where there is no such precision on `device`."""
    if precision == "float32":
        return torch.float32
    if precision == "bfloat16" and devices.has_bfloat16(device):
        return torch.bfloat16
    if precision == "float16" and device.type != "cpu":
        return torch.float16
    if precision not in PRECISIONS:
        raise UserError(
            f"There is no precision {precision!r}", action=f"Choose one of {', '.join(PRECISIONS)}"
        )
    raise UserError(
        f"The device {device} does not multiply {precision} numbers itself",
        action="Use float32, which is no slower here",
    )


def lower(model: nn.Module, dtype: torch.dtype, device: torch.device, example: Tensor) -> bool:
    """Turns the weights of `model` into `dtype`. False where the network does not run so, and is as it was.

    It can run under autocast then. On GPUs it always does: what needs float32 stays in it there, at no cost.
    """
    if device.type != "cpu":
        return False
    parameters = [(parameter, parameter.data) for parameter in model.parameters()]
    buffers = [(module, dict(module._buffers)) for module in model.modules()]
    model.to(dtype)
    try:
        with torch.no_grad():
            finite = bool(model.scores(example.to(dtype)).logits.isfinite().all())
    except Exception:  # noqa: BLE001 - a plugin's network may raise anything
        finite = False
    if not finite:
        for parameter, data in parameters:
            parameter.data = data
        for module, kept in buffers:
            module._buffers.update(kept)
    return finite


def crop_of(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle of `image` (H, W, 3), at most 512 x 512."""
    height, width = min(image.shape[0], _CROP), min(image.shape[1], _CROP)
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


def compare(found: Scores, exact: Scores, crop: tuple[int, ...]) -> Agreement:
    """Both of one picture at the head's own resolution; pixels are compared after enlarging."""
    gap = float((found.logits - exact.logits).abs().max()) / max(float(exact.logits.std()), 1e-12)
    size = (int(crop[0]), int(crop[1]))
    labels = [_labels(scores, size) for scores in (found, exact)]
    same = float((labels[0] == labels[1]).float().mean())
    return Agreement(same, gap, size)


def _labels(scores: Scores, size: tuple[int, int]) -> Tensor:
    logits = torch.nn.functional.interpolate(
        scores.logits, size, mode="bilinear", align_corners=scores.align_corners
    )
    return logits.argmax(1) if logits.shape[1] > 1 else logits > 0
