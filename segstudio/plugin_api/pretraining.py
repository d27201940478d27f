"""The protocol of pre-training: a network that learns from pictures without labels.

`Tensor` and `Module` stand for torch's types without importing torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from segstudio.plugin_api.predicting import Loss

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor = Any


@dataclass(frozen=True, slots=True)
class Pictures:
    """What a network made of pictures (N, 3, H, W), to be looked at beside them.

    `views` are named pictures of the same shape and scale as the input ("masked", "reconstruction", …), in
    the order in which they are shown. `hidden` (N, rows, columns) bool says which cells of the picture the
    network did not see, `error` (N, rows, columns) float how far each cell is off in the unit of the loss;
    both are None where the network hides nothing. `notes` are sentences for the person who looks.
    """

    views: Mapping[str, Tensor]
    hidden: Tensor | None = None
    error: Tensor | None = None
    notes: tuple[str, ...] = field(default=())


@runtime_checkable
class PretrainingModel(Protocol):
    """A torch module that learns from pictures alone."""

    image_size: tuple[int, int]
    """Height and width of the pictures it was built for, in pixels."""

    cell: int
    """Pixels a side of the cells that can be hidden."""

    def losses(self, image: Tensor) -> dict[str, Loss]:
        """`image` (N, 3, H, W) normalised float, of `image_size`; masks are drawn inside. Losses by name."""
        ...

    def pictures(
        self,
        image: Tensor,
        hidden: Tensor | None = None,
        *,
        ratio: float | None = None,
        masking: str | None = None,
        seed: int = 0,
    ) -> Pictures:
        """What it makes of `image` (N, 3, H, W).

        `hidden` (N, rows, columns) bool says which cells it may not see. Without it a mask is drawn with
        `seed`, by `ratio` in [0.1, 0.95] and `masking` ("random", "block", "grid") where they are given, else
        as in training. What does not hide cells ignores all four.
        """
        ...

    def param_groups(self, lr: float) -> list[dict[str, Any]]:
        """Parameter groups for the optimiser, with the paper's own weight decay exceptions."""
        ...

    def advance(self, fraction: float) -> None:
        """Tells how far training is, in [0, 1], before each step; for schedules of the network's own."""
        ...
