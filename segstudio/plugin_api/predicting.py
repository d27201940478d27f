"""The protocols of models: what the worker calls to get masks, scores, losses and features.

`Tensor` and `Module` stand for torch's types without importing torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
else:
    Tensor = Any
    Module = Any


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a predictor says about one image of size (H, W).

    `label_map` (H, W) uint8 or uint16, class indices. `confidence` (H, W) float32 in [0, 1] or None.
    `scores` (K, H, W) float32 probabilities or None.
    """

    label_map: NDArray[Any]
    confidence: NDArray[np.float32] | None = None
    scores: NDArray[np.float32] | None = None


class Scores(NamedTuple):
    """Class scores at the head's own resolution.

    `logits` (N, K, h, w) float. `align_corners` says how they are to be resized to the input size.
    """

    logits: Tensor
    align_corners: bool = False


class Loss(NamedTuple):
    """One loss as a sum over `count` terms, so that it can be averaged over ranks and steps.

    The value to minimise is weight * sum / count; `sum` and `count` are scalar tensors.
    """

    sum: Tensor
    count: Tensor  # type: ignore[assignment]  # a tuple's own `count` is not missed
    weight: float = 1.0


class FeatureInfo(NamedTuple):
    """One feature map of a backbone: its channels and its stride in input pixels."""

    channels: int
    stride: int


class LoadReport(NamedTuple):
    """What became of the keys of a state dict, each a tuple of key names.

    `unused` are recognised keys of parts this model lacks; `mismatched` have another shape.
    """

    layout: str
    loaded: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


Criterion = Callable[[Tensor, Tensor], Loss]
"""(logits (N, K, H, W), target (N, H, W) int64 with ignored pixels) -> Loss of weight 1."""


@runtime_checkable
class Predictor(Protocol):
    """Enough to be a plugin; torch is not needed."""

    def predict(self, image: NDArray[np.uint8], *, cancel: Callable[[], bool]) -> Prediction:
        """`image` (H, W, 3) uint8 RGB. `cancel()` is True once the person asked to stop."""
        ...


@runtime_checkable
class Segmentor(Protocol):
    """A torch module that gives class scores for normalised images."""

    num_classes: int

    def scores(self, image: Tensor) -> Scores:
        """`image` (N, 3, H, W) float, normalised -> scores at the head's own resolution."""
        ...

    def forward(self, image: Tensor) -> Tensor:
        """Exactly `scores`, resized bilinearly to the input size: (N, K, H, W)."""
        ...

    def losses(self, image: Tensor, target: Tensor, criterion: Criterion) -> dict[str, Loss]:
        """The paper's losses by name. `target` (N, H, W) int64 at the size of `image`."""
        ...

    def param_groups(self, lr: float) -> list[dict[str, Any]]:
        """Parameter groups for an optimiser, with the paper's factors on `lr` and weight decay."""
        ...


@runtime_checkable
class Backbone(Protocol):
    """A torch module that gives a pyramid of features, high resolution first."""

    features: tuple[FeatureInfo, ...]

    def forward(self, image: Tensor) -> list[Tensor]:
        """`image` (N, 3, H, W) -> one tensor (N, channels, H / stride, W / stride) for each of `features`."""
        ...


@runtime_checkable
class Interactive(Protocol):
    """Segments one object from clicks and a box."""

    def segment(
        self,
        image: NDArray[np.uint8],
        *,
        points: NDArray[np.float32],
        labels: NDArray[np.bool_],
        box: tuple[float, float, float, float] | None,
        previous: NDArray[np.bool_] | None,
    ) -> NDArray[np.bool_]:
        """`image` (H, W, 3) uint8 RGB; `points` (P, 2) as x, y; `labels` (P,) True = inside. Gives (H, W)."""
        ...
