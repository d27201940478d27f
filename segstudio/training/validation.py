"""How good the network is by now: mIoU over the validation images, and pictures to look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from segstudio.core import metrics, palette_png
from segstudio.core.recipe import Recipe
from segstudio.core.run_folder import RunFolder, Sample
from segstudio.plugin_api import ModelSpec, Preprocess
from segstudio.training.criteria import CrossEntropy
from segstudio.training.data import SampleStore, normalise, reduced
from segstudio.worker.control import Control
from segstudio.worker.inference import Network, make_plan, pad, padded_size, run_plan
from segstudio.worker.resampling import Maps

PREVIEW_SIDE = 480
# Larger images go through in blended tiles, as in the worker: their scores of all classes need not fit
# into memory. Their loss is not measured.
WHOLE_PIXELS = 2_500_000
TILE_SIDE = 1024


@dataclass(frozen=True)
class Score:
    """Sums over validation images: confusion (K, K) int64 with rows = truth, loss sum and pixel count."""

    confusion: NDArray[np.int64]
    loss_sum: float
    loss_count: float
    images: int

    @property
    def loss(self) -> float | None:
        """None where no image was measured whole."""
        return self.loss_sum / self.loss_count if self.loss_count else None


class Validator:
    """Scores a module on samples. Preview images are the same ones every epoch."""

    def __init__(
        self,
        folder: RunFolder,
        recipe: Recipe,
        samples: Sequence[Sample],
        store: SampleStore,
        spec: ModelSpec,
        preprocess: Preprocess,
        *,
        device: torch.device,
    ) -> None:
        self._folder, self._recipe, self._samples, self._store = folder, recipe, samples, store
        self._spec, self._preprocess, self._device = spec, preprocess, device
        self._mean = np.asarray(preprocess.mean, np.float32)
        self._std = np.asarray(preprocess.std, np.float32)
        self._criterion = CrossEntropy(recipe.ignore)
        count = min(recipe.previews, len(samples))
        places = np.linspace(0, len(samples) - 1, count).round().astype(int) if count else []
        self._shown = {int(place): index for index, place in enumerate(places)}

    def write_truth(self) -> list[dict[str, Any]]:
        """Writes the preview images and their labels once; gives what the window needs to show them."""
        entries = []
        for place, index in self._shown.items():
            image, labels = self._store.load(self._samples[place])
            small = reduced(image, PREVIEW_SIDE)
            size = (small.shape[1], small.shape[0])
            cv2.imwrite(str(self._folder.previews / f"image-{index}.png"), small[:, :, ::-1])
            truth = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
            palette_png.write(self._folder.previews / f"truth-{index}.png", truth, self._recipe.palette)
            entries.append({"index": index, "image": self._samples[place].image, "size": list(size)})
        return entries

    @torch.inference_mode()
    def run(
        self, module: nn.Module, epoch: int, *, rank: int = 0, ranks: int = 1, stop: Callable[[], bool]
    ) -> tuple[Score, list[dict[str, Any]]]:
        """Scores every `ranks`-th sample from `rank`; writes previews of those it meets.

        `stop()` True ends it early with what was done so far.
        """
        module.eval()
        classes = self._recipe.num_classes
        confusion = np.zeros((classes, classes), np.int64)
        loss_sum = loss_count = 0.0
        done = 0
        previews: list[dict[str, Any]] = []
        for place in range(rank, len(self._samples), ranks):
            if stop():
                break
            image, labels = self._store.load(self._samples[place])
            if image.shape[0] * image.shape[1] <= WHOLE_PIXELS:
                logits = self._logits(module, image)
                target = torch.from_numpy(labels.astype(np.int64))[None].to(self._device)
                loss = self._criterion(logits, target)
                loss_sum += float(loss.sum)
                loss_count += float(loss.count)
                prediction = logits[0].argmax(0).to(torch.int32).cpu().numpy().astype(labels.dtype)
            else:
                prediction = self._tiled(module, image, labels.dtype)
            own = metrics.confusion(labels, prediction, classes, self._recipe.ignore)
            confusion += own
            done += 1
            if place in self._shown:
                previews.append(self._preview(self._shown[place], epoch, prediction, own))
        module.train()
        return Score(confusion, loss_sum, loss_count, done), previews

    def _logits(self, module: nn.Module, image: NDArray[np.uint8]) -> Tensor:
        padded = pad(image, padded_size(*image.shape[:2], self._spec))
        values = normalise(padded.astype(np.float32), self._mean, self._std)
        logits: Tensor = module(torch.from_numpy(values)[None].to(self._device))
        return logits[:, :, : image.shape[0], : image.shape[1]].float()

    def _tiled(self, module: nn.Module, image: NDArray[np.uint8], dtype: np.dtype[Any]) -> NDArray[Any]:
        network = Network(module, self._spec, self._preprocess, self._device)
        plan = make_plan(*image.shape[:2], self._spec, TILE_SIDE)
        maps = Maps(np.empty(image.shape[:2], dtype))
        run_plan(network, image, plan, maps, Control())
        return maps.labels

    def _preview(
        self, index: int, epoch: int, prediction: NDArray[Any], confusion: NDArray[np.int64]
    ) -> dict[str, Any]:
        folder = self._folder.previews / f"epoch-{epoch:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        factor = min(1.0, PREVIEW_SIDE / max(prediction.shape))
        size = (max(1, round(prediction.shape[1] * factor)), max(1, round(prediction.shape[0] * factor)))
        small = cv2.resize(prediction, size, interpolation=cv2.INTER_NEAREST)
        palette_png.write(folder / f"{index}.png", small, self._recipe.palette)
        return {"index": index, "miou": mean_iou(confusion)}


def class_iou(confusion: NDArray[np.int64]) -> list[float | None]:
    """IoU of every class, None where it occurs in neither truth nor prediction."""
    hit = np.diag(confusion).astype(float)
    union = confusion.sum(0) + confusion.sum(1) - np.diag(confusion)
    return [float(h / u) if u else None for h, u in zip(hit, union, strict=True)]


def mean_iou(confusion: NDArray[np.int64]) -> float | None:
    """Mean over the classes with a union, None where there is none."""
    known = [value for value in class_iou(confusion) if value is not None]
    return sum(known) / len(known) if known else None


def pixel_accuracy(confusion: NDArray[np.int64]) -> float:
    return float(np.diag(confusion).sum() / max(1, confusion.sum()))
