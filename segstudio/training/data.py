"""Samples of a run: decoded once, cut and coloured by threads, the same batches after every restart."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

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
from segstudio.training.augment import sample_rng

_CACHE_BYTES = 1 << 30


Part = tuple[Tensor, ...]
"""What one pass of a network takes: tensors with the samples of the part along their first axis."""


class _Memory:
    """Arrays by name up to a number of bytes; what was used longest ago goes first. For any thread."""

    def __init__(self, most: int) -> None:
        self._room = most
        self._kept: OrderedDict[str, tuple[NDArray[Any], ...]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str) -> tuple[NDArray[Any], ...] | None:
        with self._lock:
            found = self._kept.get(name)
            if found is not None:
                self._kept.move_to_end(name)
            return found

    def keep(self, name: str, arrays: tuple[NDArray[Any], ...]) -> None:
        with self._lock:
            self._room += sum(array.nbytes for array in self._kept.pop(name, ()))
            self._kept[name] = arrays
            self._room -= sum(array.nbytes for array in arrays)
            while self._room < 0 and len(self._kept) > 1:
                _, oldest = self._kept.popitem(last=False)
                self._room += sum(array.nbytes for array in oldest)


class PictureStore:
    """Decoded images of a run, kept in memory up to a limit."""

    def __init__(self, folder: RunFolder, recipe: Recipe, *, cache_bytes: int = _CACHE_BYTES) -> None:
        self._folder = folder
        self._view = NetworkView(**recipe.view)
        self._memory = _Memory(cache_bytes)

    def load(self, sample: Sample) -> NDArray[np.uint8]:
        """Image (H, W, 3) uint8 RGB upright. Raises UserError naming the file."""
        found = self._memory.get(sample.image)
        if found is not None:
            return found[0]
        image = images.read_rgb(self._folder.resolve(sample.image), page=sample.page, view=self._view)
        self._memory.keep(sample.image, (image,))
        return image


class SampleStore:
    """Decoded images and label maps of a run, kept in memory up to a limit."""

    def __init__(self, folder: RunFolder, recipe: Recipe, *, cache_bytes: int = _CACHE_BYTES) -> None:
        self._folder = folder
        self._recipe = recipe
        self._view = NetworkView(**recipe.view)
        self._memory = _Memory(cache_bytes)

    def load(self, sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.integer]]:
        """Image (H, W, 3) uint8 RGB upright and label map (H, W). Raises UserError naming the file."""
        found = self._memory.get(sample.image)
        if found is not None:
            return found[0], found[1]
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
        self._memory.keep(sample.image, (image, labels))
        return image, labels


def epoch_order(seed: int, epoch: int, count: int, length: int) -> NDArray[np.int64]:
    """Which sample stands at each of `length` places of an epoch: permutations of `count`, joined."""
    rng = np.random.default_rng((seed, epoch, 0x5EED))
    rounds = -(-length // count)
    return np.concatenate([rng.permutation(count) for _ in range(rounds)])[:length].astype(np.int64)


class TrainingBatches:
    """The batches of one rank. `cut` makes a training sample of a stored one, with random numbers of its own.

    It gives tensors without the batch axis and is called from several threads.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        recipe: Recipe,
        cut: Callable[[Sample, np.random.Generator], Part],
        *,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self._samples = samples
        self._recipe = recipe
        self._cut = cut
        self._rank, self._ranks = rank, ranks
        per_step = recipe.batch * recipe.accumulate * ranks
        self.steps = recipe.steps_per_epoch or max(1, len(samples) // per_step)
        self._length = self.steps * per_step

    def epoch(self, epoch: int, *, first_step: int = 0) -> Iterator[list[Part]]:
        """Steps of an epoch from `first_step`; each step is `accumulate` parts of `batch` samples."""
        order = epoch_order(self._recipe.seed, epoch, len(self._samples), self._length)
        batch, parts = self._recipe.batch, self._recipe.accumulate
        with ThreadPoolExecutor(max(1, self._recipe.workers), "samples") as pool:
            waiting: deque[list[list[Future[Part]]]] = deque()
            upcoming = iter(range(first_step, self.steps))

            def prepare(step: int) -> list[list[Future[Part]]]:
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

    def _sample(self, epoch: int, place: int, index: int) -> Part:
        return self._cut(self._samples[index], sample_rng(self._recipe.seed, epoch, place))


def normalise(
    image: NDArray[np.float32], mean: NDArray[np.float32], std: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(h, w, 3) on the 0-255 scale -> (3, h, w), (x - mean) / std."""
    result = np.empty((3, *image.shape[:2]), np.float32)
    for plane, channel, low, scale in zip(result, cv2.split(image), mean, std, strict=True):
        np.multiply(np.subtract(channel, low, out=plane), 1 / scale, out=plane)
    return result


def _collate(samples: list[Part]) -> Part:
    return tuple(torch.stack(tensors) for tensors in zip(*samples, strict=True))


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
