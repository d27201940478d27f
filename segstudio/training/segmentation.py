"""Learning masks from labels: cross entropy over labelled pixels, judged by mIoU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from segstudio.core.recipe import Recipe
from segstudio.core.run_folder import RunFolder, Sample
from segstudio.plugin_api import Loss, ModelSpec
from segstudio.training.augment import augment
from segstudio.training.criteria import CrossEntropy, frequency_weights
from segstudio.training.data import Part, SampleStore, TrainingBatches, class_frequencies, normalise
from segstudio.training.model import Trainee
from segstudio.training.objective import Verdict
from segstudio.training.ranks import joined, summed
from segstudio.training.validation import Score, Validator, class_iou, mean_iou, pixel_accuracy


class SegmentationObjective:
    """See `Objective`. A part is images (N, 3, h, w) float32, normalised, and targets (N, h, w) int64."""

    worst = -1.0

    def __init__(self, folder: RunFolder, recipe: Recipe, trainee: Trainee, fabric: Fabric) -> None:
        assert isinstance(trainee.spec, ModelSpec)
        self._recipe = recipe
        self._mean = np.asarray(trainee.preprocess.mean, np.float32)
        self._std = np.asarray(trainee.preprocess.std, np.float32)
        samples = folder.samples()
        training = [sample for sample in samples if sample.split == "train"]
        validation = [sample for sample in samples if sample.split == "val"]
        self._validated = len(validation)
        self.validates = bool(validation)
        self._store = SampleStore(folder, recipe)
        self.batches = TrainingBatches(
            training, recipe, self._cut, rank=fabric.global_rank, ranks=fabric.world_size
        )
        self._validator = Validator(
            folder,
            recipe,
            validation,
            self._store,
            trainee.spec,
            trainee.preprocess,
            device=fabric.device,
        )
        weights = None
        if recipe.class_weights == "frequency":
            pixels = class_frequencies(self._store, training, recipe.num_classes)
            weights = torch.from_numpy(frequency_weights(pixels))
        self._criterion = CrossEntropy(recipe.ignore, class_weights=weights, keep=recipe.ohem)

    def _cut(self, sample: Sample, rng: np.random.Generator) -> Part:
        image, labels = self._store.load(sample)
        crop, target = augment(image, labels, self._recipe, rng, fill=self._mean)
        return torch.from_numpy(normalise(crop, self._mean, self._std)), torch.from_numpy(target)

    def write_originals(self) -> list[dict[str, Any]]:
        return self._validator.write_truth()

    def begin_step(self, module: nn.Module, fraction: float) -> None:
        """Nothing: networks for masks have no schedule of their own."""

    def worth(self, part: Part) -> Tensor:
        """Labelled pixels: parts with many ignored ones count less."""
        return (part[1] != self._recipe.ignore).sum()

    def losses(self, model: Any, part: Part, device: torch.device) -> Mapping[str, Loss]:
        image = part[0].to(device, non_blocking=True, memory_format=torch.channels_last)
        losses: Mapping[str, Loss] = model.losses(
            image, part[1].to(device, non_blocking=True), self._criterion
        )
        return losses

    def validate(
        self, module: nn.Module, epoch: int, fabric: Fabric, stop: Callable[[], bool]
    ) -> Verdict | None:
        score, previews = self._validator.run(
            module, epoch, rank=fabric.global_rank, ranks=fabric.world_size, stop=stop
        )
        score = _added(score, fabric)
        previews = joined(fabric, previews)
        if score.images < self._validated:
            return None
        miou = mean_iou(score.confusion)
        entry = {
            "val_loss": score.loss,
            "miou": miou,
            "pixel_accuracy": pixel_accuracy(score.confusion),
            "iou": class_iou(score.confusion),
            "previews": sorted(previews, key=lambda preview: preview["index"]),
        }
        return Verdict(entry, miou)

    def best_entry(self, score: float) -> dict[str, float]:
        return {"miou": score}


def _added(score: Score, fabric: Fabric) -> Score:
    """The score of all ranks together."""
    if fabric.world_size == 1:
        return score
    confusion = summed(fabric, torch.from_numpy(score.confusion).to(fabric.device)).cpu().numpy()
    rest = torch.tensor([score.loss_sum, score.loss_count, score.images], dtype=torch.float64)
    loss_sum, loss_count, images = summed(fabric, rest.to(fabric.device)).tolist()
    return Score(confusion, loss_sum, loss_count, int(images))
