"""Samples of a run: decoded once, cut and coloured by threads, the same batches after every restart."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segstudio.core import images, palette_png
from segstudio.core.errors import UserError
from segstudio.core.pixel_range import NetworkView
from segstudio.core.recipe import Recipe
from segstudio.core.run_folder import RunFolder, Sample
from segstudio.training.augment import augment, sample_rng

_CACHE_BYTES = 1 << 30


class SampleStore:
    """Decoded images and label maps of a run, kept in memory up to a limit."""

    def __init__(self, folder: RunFolder, recipe: Recipe, *, cache_bytes: int = _CACHE_BYTES) -> None:
        self._folder = folder
        self._recipe = recipe
        self._view = NetworkView(**recipe.view)
        self._room = cache_bytes
        self._kept: OrderedDict[str, tuple[NDArray[np.uint8], NDArray[np.integer]]] = OrderedDict()
        self._lock = threading.Lock()

    def load(self, sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.integer]]:
        """Image (H, W, 3) uint8 RGB upright and label map (H, W). Raises UserError naming the file."""
        with self._lock:
            found = self._kept.get(sample.image)
            if found is not None:
                self._kept.move_to_end(sample.image)
                return found
        path = self._folder.resolve(sample.image)
        image = images.read_rgb(path, page=sample.page, view=self._view)
        labels, _ = palette_png.read(self._folder.resolve(sample.label))
        if labels.shape != image.shape[:2]:
            raise UserError(
                f"The labels are {labels.shape[1]}x{labels.shape[0]}, the image is "
                f"{image.shape[1]}x{image.shape[0]}",
                where=str(path),
                action="Labels must have the size of their image.",
            )
        wrong = np.unique(labels[(labels >= self._recipe.num_classes) & (labels != self._recipe.ignore)])
        if len(wrong):
            raise UserError(
                f"Label value {wrong[0]} is no class: the run has {self._recipe.num_classes}",
                where=str(self._folder.resolve(sample.label)),
                action="Map it to a class or to the ignored value.",
            )
        pair = (image, labels)
        with self._lock:
            self._kept[sample.image] = pair
            self._room -= image.nbytes + labels.nbytes
            while self._room < 0 and len(self._kept) > 1:
                _, (old_image, old_labels) = self._kept.popitem(last=False)
                self._room += old_image.nbytes + old_labels.nbytes
        return pair


def epoch_order(seed: int, epoch: int, count: int, length: int) -> NDArray[np.int64]:
    """Which sample stands at each of `length` places of an epoch: permutations of `count`, joined."""
    rng = np.random.default_rng((seed, epoch, 0x5EED))
    rounds = -(-length // count)
    return np.concatenate([rng.permutation(count) for _ in range(rounds)])[:length].astype(np.int64)


class TrainingBatches:
    """The batches of one rank. `mean` and `std` are on the 0-255 scale."""

    def __init__(
        self,
        store: SampleStore,
        samples: Sequence[Sample],
        recipe: Recipe,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self._store = store
        self._samples = samples
        self._recipe = recipe
        self._mean = np.asarray(mean, np.float32)
        self._std = np.asarray(std, np.float32)
        self._rank, self._ranks = rank, ranks
        per_step = recipe.batch * recipe.accumulate * ranks
        self.steps = recipe.steps_per_epoch or max(1, len(samples) // per_step)
        self._length = self.steps * per_step

    def epoch(self, epoch: int, *, first_step: int = 0) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """Steps of an epoch from `first_step`; each step is `accumulate` pairs of images and targets.

        Images (N, 3, h, w) float32, normalised; targets (N, h, w) int64.
        """
        order = epoch_order(self._recipe.seed, epoch, len(self._samples), self._length)
        batch, parts = self._recipe.batch, self._recipe.accumulate
        with ThreadPoolExecutor(max(1, self._recipe.workers), "samples") as pool:
            waiting: deque[list[list[Future[tuple[Tensor, Tensor]]]]] = deque()
            upcoming = iter(range(first_step, self.steps))

            def prepare(step: int) -> list[list[Future[tuple[Tensor, Tensor]]]]:
                step_start = step * batch * parts * self._ranks
                groups = []
                for part in range(parts):
                    start = step_start + (part * self._ranks + self._rank) * batch
                    places = range(start, start + batch)
                    groups.append([pool.submit(self._sample, epoch, i, int(order[i])) for i in places])
                return groups

            for _ in range(3):
                for step in upcoming:
                    waiting.append(prepare(step))
                    break
            try:
                while waiting:
                    groups = waiting.popleft()
                    for step in upcoming:
                        waiting.append(prepare(step))
                        break
                    yield [_collate([future.result() for future in group]) for group in groups]
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _sample(self, epoch: int, place: int, index: int) -> tuple[Tensor, Tensor]:
        image, labels = self._store.load(self._samples[index])
        rng = sample_rng(self._recipe.seed, epoch, place)
        crop, target = augment(image, labels, self._recipe, rng, fill=self._mean)
        return torch.from_numpy(normalise(crop, self._mean, self._std)), torch.from_numpy(target)


def normalise(
    image: NDArray[np.float32], mean: NDArray[np.float32], std: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(h, w, 3) on the 0-255 scale -> (3, h, w), (x - mean) / std."""
    result = np.empty((3, *image.shape[:2]), np.float32)
    for plane, channel, low, scale in zip(result, cv2.split(image), mean, std, strict=True):
        np.multiply(np.subtract(channel, low, out=plane), 1 / scale, out=plane)
    return result


def _collate(pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    return torch.stack([image for image, _ in pairs]), torch.stack([target for _, target in pairs])


def class_frequencies(store: SampleStore, samples: Sequence[Sample], num_classes: int) -> NDArray[np.int64]:
    """Labelled pixels of each class over `samples`, counted on every second row and column."""
    counts = np.zeros(num_classes, np.int64)
    for sample in samples:
        _, labels = store.load(sample)
        counts += np.bincount(labels[::2, ::2].ravel(), minlength=num_classes)[:num_classes]
    return counts


def reduced(image: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """`image` with its longer side at most `longest`, for previews."""
    factor = longest / max(image.shape[:2])
    if factor >= 1:
        return image
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
