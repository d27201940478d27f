"""What networks of pre-training make of a picture; those asked last are kept for the next question."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segstudio.core.crops import centre_crop
from segstudio.core.errors import UserError
from segstudio.plugin_api import Pictures, Plugin, Preprocess, PretrainingSpec
from segstudio.registry import Registry, plugin_error
from segstudio.worker import devices
from segstudio.worker.checkpoints import read_weights
from segstudio.worker.control import Control
from segstudio.worker.pretraining_building import build_pretraining

_KEPT = 2


@dataclass(frozen=True)
class Mask:
    """Which cells are hidden: `hidden` (row, column) as given, else drawn; None leaves it to the network."""

    hidden: Sequence[tuple[int, int]] | None = None
    ratio: float | None = None
    masking: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class Reconstruction:
    """`pictures` (V, H, W, 3) uint8 RGB named by `views`, the original first.

    `hidden` are cells (row, column) of `cell` pixels a side and `error` (rows, columns) float, None where
    nothing is hidden; `mean_error` is that of the hidden cells. `milliseconds` is the network's own time.
    """

    views: tuple[str, ...]
    pictures: NDArray[np.uint8]
    cell: int
    hidden: tuple[tuple[int, int], ...] | None
    error: NDArray[np.float64] | None
    mean_error: float | None
    milliseconds: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Loaded:
    module: Any
    spec: PretrainingSpec
    plugin: Plugin
    preprocess: Preprocess
    device: torch.device


class Reconstructor:
    """Keeps the networks used last; a file that was replaced is read anew."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._kept: OrderedDict[str, _Loaded] = OrderedDict()

    def clear(self) -> None:
        self._kept.clear()

    def reconstruct(
        self,
        model: Mapping[str, Any],
        image: NDArray[np.uint8],
        mask: Mask,
        *,
        device: str = "auto",
        control: Control | None = None,
    ) -> Reconstruction:
        """What the network of `model` ({"pretraining", "weights", "options"}) makes of `image` (H, W, 3).

        The middle of the picture is taken, at the size the network was built for. Raises UserError.
        """
        control = control or Control()
        loaded = self._load(model, devices.choose(device))
        control.check()
        module = loaded.module
        height, width = (int(side) for side in module.image_size)
        picture = centre_crop(image, (width, height))
        values = _normalised(picture, loaded.preprocess).to(loaded.device)
        hidden = _grid(mask.hidden, (height // module.cell, width // module.cell))
        if hidden is not None:
            hidden = hidden.to(loaded.device)
        try:
            made, seconds = _timed(module, values, hidden, mask)
        except Exception as error:
            if devices.is_out_of_memory(error):
                raise UserError(
                    "The memory does not suffice for this network",
                    action="Close other programs and try again",
                ) from error
            raise plugin_error(loaded.plugin.title, f"{loaded.spec.title} failed", error) from error
        control.check()
        return _result(picture, made, module.cell, loaded.preprocess, 1000 * seconds)

    def _load(self, model: Mapping[str, Any], device: torch.device) -> _Loaded:
        path = Path(str(model["weights"]))
        try:
            stamp = path.stat().st_mtime_ns
        except OSError as error:
            raise UserError("There is no file of weights", where=f"at {path}", details=str(error)) from error
        key = f"{model['pretraining']} {path} {stamp} {dict(model.get('options') or {})} {device}"
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = _load(self._registry, model, path, device)
        self._kept.move_to_end(key)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found


def _load(registry: Registry, model: Mapping[str, Any], path: Path, device: torch.device) -> _Loaded:
    plugin, spec = registry.find_pretraining(str(model["pretraining"]))
    weights = read_weights(path)
    if weights.facts.model and weights.facts.model != spec.id:
        raise UserError(f"{path.name} holds weights of {weights.facts.model}, not of {spec.id}")
    asked = {**weights.facts.options, **(model.get("options") or {})}
    options = {option.name: asked.get(option.name, option.default) for option in spec.options}
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    module = build_pretraining(registry, plugin, spec, options, weights)
    module.eval().to(device)
    return _Loaded(module, spec, plugin, weights.facts.preprocess or spec.preprocess, device)


def _normalised(picture: NDArray[np.uint8], preprocess: Preprocess) -> Tensor:
    """(H, W, 3) uint8 -> (1, 3, H, W) float32."""
    values = (picture.astype(np.float32) - np.float32(preprocess.mean)) / np.float32(preprocess.std)
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))[None]


def _grid(cells: Sequence[tuple[int, int]] | None, shape: tuple[int, int]) -> Tensor | None:
    """(1, rows, columns) bool with these cells hidden. Raises UserError for a cell that is not there."""
    if cells is None:
        return None
    grid = torch.zeros((1, *shape), dtype=torch.bool)
    for row, column in cells:
        if not (0 <= row < shape[0] and 0 <= column < shape[1]):
            raise UserError(f"There is no cell ({row}, {column}) in {shape[0]} rows of {shape[1]}")
        grid[0, row, column] = True
    return grid


@torch.inference_mode()
def _timed(module: Any, values: Tensor, hidden: Tensor | None, mask: Mask) -> tuple[Pictures, float]:
    started = time.perf_counter()
    made: Pictures = module.pictures(values, hidden, ratio=mask.ratio, masking=mask.masking, seed=mask.seed)
    if values.device.type == "cuda":
        torch.cuda.synchronize(values.device)
    return made, time.perf_counter() - started


def _result(
    picture: NDArray[np.uint8], made: Pictures, cell: int, preprocess: Preprocess, milliseconds: float
) -> Reconstruction:
    shown = [_picture(view[0], preprocess) for view in made.views.values()]
    hidden = None if made.hidden is None else made.hidden[0].cpu().numpy().astype(bool)
    error = None if made.error is None else made.error[0].double().cpu().numpy()
    mean = None
    if error is not None:
        counted = error[hidden] if hidden is not None and hidden.any() else error
        mean = float(counted.mean()) if counted.size and np.isfinite(counted).all() else None
    cells = None if hidden is None else tuple((int(row), int(column)) for row, column in np.argwhere(hidden))
    return Reconstruction(
        ("original", *made.views),
        np.stack([picture, *shown]),
        cell,
        cells,
        error,
        mean,
        milliseconds,
        made.notes,
    )


def _picture(view: Tensor, preprocess: Preprocess) -> NDArray[np.uint8]:
    """(3, H, W) normalised -> (H, W, 3) uint8."""
    values = view.float().cpu().numpy().transpose(1, 2, 0)
    pixels = values * np.float32(preprocess.std) + np.float32(preprocess.mean)
    return np.clip(np.rint(np.nan_to_num(pixels)), 0, 255).astype(np.uint8)
