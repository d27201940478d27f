"""Predictors of plugins, which take an image and give maps by their own ways: run, checked, copied."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segstudio.core.errors import UserError
from segstudio.plugin_api import Prediction
from segstudio.registry import plugin_error
from segstudio.worker import devices
from segstudio.worker.control import Control
from segstudio.worker.inference import Timing
from segstudio.worker.input_scale import resized_map
from segstudio.worker.loaded_models import LoadedModel
from segstudio.worker.model_ref import ModelRef
from segstudio.worker.resampling import Maps


def run_predictor(
    loaded: LoadedModel, ref: ModelRef, image: NDArray[np.uint8], maps: Maps, control: Control
) -> Timing:
    """Fills `maps` from what `loaded.model.predict` says of `image` (H, W, 3), which it cannot change.

    Raises UserError where it fails or gives something else than the interface asks for; Cancelled.
    """
    if ref.switches:
        raise UserError(f"{loaded.spec.title} has no switches")
    started = time.perf_counter()
    frozen = image.view()
    frozen.flags.writeable = False
    try:
        found = loaded.model.predict(frozen, cancel=control.cancelled)
    except Exception as error:
        control.check()
        if devices.is_out_of_memory(error):
            raise
        raise plugin_error(loaded.plugin.title, f"{loaded.spec.title} failed", error) from error
    control.check()
    if maps.labels.shape == image.shape[:2]:
        _take_prediction(loaded, found, image.shape[:2], maps)
    else:  # it saw the picture at another size
        own = _maps_like(maps, image.shape[:2])
        _take_prediction(loaded, found, image.shape[:2], own)
        for wanted, given in zip(_arrays(maps), _arrays(own), strict=True):
            wanted[...] = resized_map(given, wanted.shape)
    control.progress(1.0)
    return Timing(time.perf_counter() - started, 1)


def _maps_like(maps: Maps, size: tuple[int, ...]) -> Maps:
    kinds = (maps.labels, maps.confidence, maps.entropy)
    return Maps(*(None if each is None else np.zeros(size, each.dtype) for each in kinds))  # type: ignore[arg-type]


def _arrays(maps: Maps) -> list[NDArray[Any]]:
    return [each for each in (maps.labels, maps.confidence, maps.entropy) if each is not None]


def _take_prediction(loaded: LoadedModel, found: Any, size: tuple[int, ...], maps: Maps) -> None:
    """Copies a plugin's answer where it fits. Raises UserError saying what does not."""

    def wrong(what: str) -> UserError:
        return UserError(f"{loaded.plugin.title}: {loaded.spec.title} gave {what}")

    if not isinstance(found, Prediction):
        raise wrong(f"a {type(found).__name__}, expected a Prediction")
    labels = np.asarray(found.label_map)
    if labels.shape != tuple(size) or labels.dtype.kind not in "ui":
        raise wrong(f"a label map of {labels.shape} {labels.dtype}, expected integers of {tuple(size)}")
    most = np.iinfo(maps.labels.dtype).max
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high > most:
        raise wrong(f"class indices {low}..{high}, expected 0..{most}")
    maps.labels[...] = labels
    if maps.confidence is not None:
        maps.confidence[...] = 255 if found.confidence is None else _bytes(found.confidence, size, wrong)
    if maps.entropy is not None:
        maps.entropy[...] = 0 if found.scores is None else _entropy(np.asarray(found.scores))


def _bytes(values: Any, size: tuple[int, ...], wrong: Callable[[str], UserError]) -> NDArray[np.uint8]:
    array = np.asarray(values, np.float32)
    if array.shape != tuple(size):
        raise wrong(f"a confidence of {array.shape}, expected {tuple(size)}")
    if not np.isfinite(array).all():
        raise wrong("a confidence that is no number somewhere")
    result: NDArray[np.uint8] = np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)
    return result


def _entropy(scores: NDArray[np.float32]) -> NDArray[np.uint8]:
    safe = np.clip(scores, 1e-12, 1)
    entropy = -(safe * np.log(safe)).sum(axis=0) / np.log(max(2, len(scores)))
    result: NDArray[np.uint8] = np.rint(np.clip(entropy, 0, 1) * 255).astype(np.uint8)
    return result
