"""What a run learns, apart from how training goes: its batches, its losses, and what counts as better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from segstudio.core.recipe import Recipe
from segstudio.core.run_folder import RunFolder
from segstudio.plugin_api import Loss
from segstudio.training.data import Part, TrainingBatches
from segstudio.training.model import Trainee


@dataclass(frozen=True)
class Verdict:
    """What validation found: fields for the epoch's event, and one number, higher where it is better."""

    entry: dict[str, Any]
    score: float | None


class Objective(Protocol):
    """One task: segmentation from labels, or pre-training from pictures alone."""

    batches: TrainingBatches
    validates: bool
    """Whether there is anything to validate on."""

    worst: float
    """A score below every one that validation gives."""

    def write_originals(self) -> list[dict[str, Any]]:
        """Writes what previews are laid beside in all epochs; gives what the window needs to show them."""
        ...

    def begin_step(self, module: nn.Module, fraction: float) -> None:
        """Before the step that begins at `fraction` in [0, 1] of the run."""
        ...

    def worth(self, part: Part) -> Tensor:
        """How much a part of a batch counts beside the others of its step: a scalar on the CPU."""
        ...

    def losses(self, model: Any, part: Part, device: torch.device) -> Mapping[str, Loss]:
        """One pass over a part."""
        ...

    def validate(
        self, module: nn.Module, epoch: int, fabric: Fabric, stop: Callable[[], bool]
    ) -> Verdict | None:
        """None where `stop()` ended it early: half a validation says nothing."""
        ...

    def best_entry(self, score: float) -> dict[str, float]:
        """The best score so far as it is written into the run's state."""
        ...


def make_objective(folder: RunFolder, recipe: Recipe, trainee: Trainee, fabric: Fabric) -> Objective:
    """The objective of the recipe's task."""
    if recipe.task == "pretraining":
        from segstudio.training.pretraining import PretrainingObjective

        return PretrainingObjective(folder, recipe, trainee, fabric)
    from segstudio.training.segmentation import SegmentationObjective

    return SegmentationObjective(folder, recipe, trainee, fabric)
