"""The engine: models by reference, predictions, probes; without processes, for whoever runs networks.

It chooses between one pass and tiles by the memory a pass needs, goes to smaller tiles when memory runs
out all the same, and says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from segstudio.core.errors import UserError
from segstudio.core.weights_facts import WeightsFacts
from segstudio.plugin_api import ProbeMap, ProbeSpec, Query, Scores, TaxonomyClass
from segstudio.registry import Registry, plugin_error
from segstudio.worker import devices, footprint, kept_heap, loaded_models
from segstudio.worker.control import Cancelled, Control
from segstudio.worker.inference import SMALLEST_TILE, Network, Timing, make_plan, pad, padded_size, run_plan
from segstudio.worker.input_scale import resized_map, scaled
from segstudio.worker.kept_runs import KeptRun, KeptRuns, ask, capturing, switched
from segstudio.worker.loaded_models import LoadedModel, ModelCache
from segstudio.worker.memory import peak_resident_bytes
from segstudio.worker.model_ref import ModelRef
from segstudio.worker.plugin_predictions import run_predictor
from segstudio.worker.precision import Agreement, compare, crop_of
from segstudio.worker.prediction_result import PredictionResult
from segstudio.worker.resampling import Maps
from segstudio.worker.tiles import Tile, TilePlan
from segstudio.worker.true_labels import given, wanted

_SURELY_SMALL = 640 * 640
# A pass takes up to 1.8 times what is told (measured): operators use memory inside that nobody sees.
_SHARE_OF_FREE = 0.5
# Smaller ones take other ways (no transforms, no oneDNN), which would pass for growth with the square.
_MEASURED_SIDES = (192, 384)
_TIMED_PASSES, _TIMED_SECONDS = 3, 1.0


class Engine:
    """Runs models. `device` and `precision` are the defaults of its runs; see `worker.precision`.

    `memory` caps the bytes a pass may take, for tests and for people who share a computer.
    """

    def __init__(
        self,
        plugin_files: Sequence[Path] = (),
        *,
        device: str = "auto",
        precision: str = "float32",
        optimise: bool = True,
        memory: int | None = None,
        registry: Registry | None = None,
    ) -> None:
        self.registry = registry if registry is not None else Registry(plugin_files)
        self.device = device
        self.precision = precision
        self.memory = memory
        self._optimise = optimise
        self._models = ModelCache(self.registry, optimise=optimise)
        self._runs = KeptRuns()

    def load(self, ref: ModelRef, *, device: str = "", precision: str = "") -> LoadedModel:
        """The model, from the cache or built anew. Raises UserError, also where it lacks the ref's output."""
        precision = precision or ref.precision or self.precision
        loaded = self._models.get(ref, devices.choose(device or self.device), precision)
        loaded_models.require_output(loaded, ref.output)
        return loaded

    def unload(self) -> None:
        """Forgets all models and kept runs."""
        self._models.clear()
        self._runs.clear()
        kept_heap.release()

    def predict(
        self,
        ref: ModelRef,
        image: NDArray[np.uint8],
        *,
        device: str = "",
        precision: str = "",
        maps: Maps | None = None,
        confidence: bool = True,
        entropy: bool = False,
        keep: bool = False,
        key: str = "",
        labels: NDArray[Any] | None = None,
        cancel: Callable[[], bool] | None = None,
        progress: Callable[[float, str], None] | None = None,
    ) -> PredictionResult:
        """Segments `image` (H, W, 3) uint8 RGB of any size; the maps have it whatever the ref's `scale`.

        `maps` are filled where given (shared memory), else made. With `keep`, what the declared probes
        need stays under the image's `key`. `labels` (H, W) are the model's class numbers, others where
        nobody knows: for switches that work from them. Raises UserError; Cancelled once `cancel()` is true.
        """
        control = Control(cancel=cancel, progress=progress)
        _check_image(image)
        started = time.perf_counter()
        loaded = self.load(ref, device=device, precision=precision)
        control.check()
        if maps is None:
            maps = _new_maps(image.shape[:2], loaded.num_classes, confidence, entropy)
        notes = list(loaded.notes)
        image = scaled(image, ref.scale)
        if ref.scale != 1.0:
            notes.append(
                f"Ran at {ref.scale:g} times the picture's size, {image.shape[1]} x {image.shape[0]}"
            )
        if labels is not None and labels.shape != image.shape[:2]:
            labels = resized_map(labels, image.shape[:2])
        truth_wanted = wanted(loaded, dict(ref.switches))
        if loaded.is_torch:
            if loaded.num_classes > np.iinfo(maps.labels.dtype).max + 1:
                raise UserError(f"{loaded.num_classes} classes do not fit a label map of {maps.labels.dtype}")
            with self._memory_kept(loaded):
                plan, timing, changed = self._run_torch(
                    loaded, ref, image, maps, keep, key, control, notes, labels
                )
            if ref.output not in loaded.agreements and loaded.dtype is not torch.float32 and not truth_wanted:
                loaded.agreements[ref.output] = self._agreement(loaded, ref, image)
                notes.append(loaded.agreements[ref.output].sentence(loaded.precision))
        else:
            plan = make_plan(*image.shape[:2], loaded.spec, None)
            timing, changed = run_predictor(loaded, ref, image, maps, control), False
        classes = loaded.classes
        if not classes:
            classes = _classes_found(maps.labels)
        tile_size = (plan.tile_height, plan.tile_width)
        first_of_size = loaded.is_torch and (*tile_size, ref.output) not in loaded.sizes_run
        loaded.sizes_run.add((*tile_size, ref.output))
        return PredictionResult(
            label_map=maps.labels,
            confidence=maps.confidence,
            entropy=maps.entropy,
            classes=classes,
            device=str(loaded.device) if loaded.is_torch else "cpu",
            seconds=time.perf_counter() - started,
            forward_seconds=timing.forward,
            tiles=plan.count,
            tile_size=tile_size,
            parameters=loaded.parameters,
            peak_bytes=_peak_bytes(loaded.device),
            preprocess_source=loaded.preprocess_source,
            not_as_trained=changed,
            notes=notes,
            precision=loaded.precision,
            agreement=loaded.agreements.get(ref.output),
            from_labels=truth_wanted,
            first_of_size=first_of_size,
        )

    def forward_seconds(self, ref: ModelRef, size: tuple[int, int], *, device: str = "") -> float | None:
        """The shortest of a few passes over an image of `size` (H, W) that the network has run on before.

        Takes a second at most, or one pass. None for what is no torch module.
        """
        loaded = self.load(ref, device=device)
        if not loaded.is_torch:
            return None
        noise = np.random.default_rng(0).integers(0, 256, (*padded_size(*size, loaded.spec), 3), np.uint8)
        network, passes = self._network(loaded, ref.output), list[float]()
        with self._memory_kept(loaded):
            while not passes or (len(passes) < _TIMED_PASSES and sum(passes) < _TIMED_SECONDS):
                timing = Timing()
                network.scores(noise, timing)
                passes.append(timing.forward)
        return min(passes)

    def scores(
        self, ref: ModelRef, image: NDArray[np.uint8], *, device: str = "", precision: str = ""
    ) -> Scores:
        """What `predict` makes its maps from: class scores at the head's own resolution, of one pass.

        `image` (H, W, 3) uint8 RGB is padded to a size the network takes. Raises UserError.
        """
        _check_image(image)
        loaded = self.load(ref, device=device, precision=precision)
        if not loaded.is_torch:
            raise UserError(f"{loaded.spec.title} gives no scores")
        size = padded_size(*image.shape[:2], loaded.spec)
        with switched(self.registry, loaded, dict(ref.switches)), self._memory_kept(loaded):
            return self._network(loaded, ref.output).scores(pad(image, size))

    def probe(
        self,
        ref: ModelRef,
        probe_id: str,
        query: Query,
        options: dict[str, Any] | None = None,
        *,
        image: NDArray[np.uint8] | None = None,
        key: str = "",
        device: str = "",
    ) -> tuple[ProbeMap, Tile | None]:
        """What the model kept about `query`, in pixels of the image; and the tile, where it ran in tiles.

        Answers from the run kept under `key`; where there is none (any longer), `image` is run.
        Raises UserError.
        """
        loaded = self.load(ref, device=device)
        spec = probe_spec(loaded, probe_id)
        run = self._runs.get(self._run_key(ref, loaded, key))
        if run is None:
            if image is None:
                raise UserError(
                    f"{loaded.spec.title} has not run on this image yet", action="Run it, then look into it"
                )
            _check_image(image)
            plan = make_plan(*image.shape[:2], loaded.spec, self._tile_side(loaded, image.shape[:2]))
            run = KeptRun(loaded, image, plan, dict(ref.switches))
            self._runs.put(self._run_key(ref, loaded, key), run)
        answer = ask(self.registry, self._network(loaded), run, spec, query, options or {})
        self._runs.trim()
        return answer

    def has_kept(self, ref: ModelRef, key: str, *, device: str = "") -> bool:
        """Whether a probe of this model on this image answers without a run."""
        return self._runs.get(self._run_key(ref, self.load(ref, device=device), key)) is not None

    # -- torch ---------------------------------------------------------------------------------------

    def _run_torch(
        self,
        loaded: LoadedModel,
        ref: ModelRef,
        image: NDArray[np.uint8],
        maps: Maps,
        keep: bool,
        key: str,
        control: Control,
        notes: list[str],
        labels: NDArray[Any] | None,
    ) -> tuple[TilePlan, Timing, bool]:
        height, width = image.shape[:2]
        side = self._tile_side(loaded, (height, width), ref.output)
        network = self._network(loaded, ref.output)
        while True:
            plan = make_plan(height, width, loaded.spec, side)
            try:
                truth = given(loaded, labels, plan) if wanted(loaded, dict(ref.switches)) else nullcontext()
                with truth, switched(self.registry, loaded, dict(ref.switches)) as changed:
                    timing = self._run_plan(loaded, network, ref, image, plan, maps, keep, key, control)
                break
            except Exception as error:
                if isinstance(error, UserError | Cancelled):
                    raise
                if not devices.is_out_of_memory(error):
                    raise plugin_error(loaded.plugin.title, f"{loaded.spec.title} failed", error) from error
                side = self._smaller(loaded, plan, error)
        if not plan.is_whole:
            size = f"{plan.tile_width} x {plan.tile_height}"
            notes.append(
                f"Ran in {plan.count} tiles of {size} pixels, because the whole image needs more memory"
            )
        return plan, timing, changed

    def _run_plan(
        self,
        loaded: LoadedModel,
        network: Network,
        ref: ModelRef,
        image: NDArray[np.uint8],
        plan: TilePlan,
        maps: Maps,
        keep: bool,
        key: str,
        control: Control,
    ) -> Timing:
        # A side output need not pass what probes read, and they answer in pixels of the picture's own size.
        if not (keep and loaded.spec.probes) or ref.output or ref.scale != 1.0:
            return run_plan(network, image, plan, maps, control)
        run = KeptRun(loaded, image, plan, dict(ref.switches))
        if plan.is_whole:
            with capturing(self.registry, loaded) as kept:
                timing = run_plan(network, image, plan, maps, control)
            run.captured[plan.tiles()[0]] = kept
        else:
            timing = run_plan(network, image, plan, maps, control)
        self._runs.put(self._run_key(ref, loaded, key), run)
        return timing

    def _smaller(self, loaded: LoadedModel, plan: TilePlan, error: Exception) -> int:
        """The next smaller tile side after memory ran out. Raises UserError when there is none."""
        devices.empty_cache(loaded.device)
        self._runs.clear()
        if self._models.drop_others(loaded):
            devices.empty_cache(loaded.device)
        side, smallest = max(plan.tile_height, plan.tile_width), max(SMALLEST_TILE, loaded.spec.min_size)
        if side <= smallest:
            raise UserError(
                f"{loaded.spec.title} does not fit into the memory of {loaded.device} even in small tiles",
                action="Close other programs, choose a smaller network, or run it on the CPU",
                details=str(error),
            ) from error
        return max(side // 2, smallest)

    def _tile_side(self, loaded: LoadedModel, size: tuple[int, int], output: str = "") -> int | None:
        """None for one pass, else the side of the largest square that fits into memory."""
        height, width = padded_size(*size, loaded.spec)
        pixels = height * width
        if self.memory is None and pixels <= _SURELY_SMALL:
            return None
        needed = self._footprint(loaded, output)
        free = self.memory if self.memory is not None else devices.free_bytes(loaded.device)
        # The scores at the network's own resolution are counted by the footprint; the maps are small.
        budget = _SHARE_OF_FREE * free
        if needed.nbytes(pixels) <= budget:
            return None
        return max(int(needed.pixels(budget) ** 0.5), SMALLEST_TILE)

    def _footprint(self, loaded: LoadedModel, output: str) -> footprint.Footprint:
        if output not in loaded.footprints:
            network = self._network(loaded, output)
            sides = [padded_size(side, side, loaded.spec)[0] for side in _MEASURED_SIDES]
            if sides[0] == sides[1]:
                sides[1] = padded_size(sides[0] + 1, sides[0] + 1, loaded.spec)[0]

            def run(side: int) -> None:
                network.scores(np.zeros((side, side, 3), np.uint8))

            try:
                loaded.footprints[output] = footprint.measure(run, (sides[0], sides[1]))
            except RuntimeError as error:
                raise plugin_error(loaded.plugin.title, f"{loaded.spec.title} failed", error) from error
        return loaded.footprints[output]

    def _memory_kept(self, loaded: LoadedModel) -> AbstractContextManager[None]:
        on_cpu = loaded.device.type == "cpu"
        return kept_heap.kept() if self._optimise and on_cpu else nullcontext()

    def _network(self, loaded: LoadedModel, output: str = "") -> Network:
        return Network(
            loaded.model,
            loaded.spec,
            loaded.preprocess,
            loaded.device,
            dtype=loaded.dtype,
            autocast=loaded.autocast,
            output=output,
        )

    def _agreement(self, loaded: LoadedModel, ref: ModelRef, image: NDArray[np.uint8]) -> Agreement:
        """How far a crop of `image` comes out as in float32, by the same network in float32."""
        crop = crop_of(image)
        pixels = pad(crop, padded_size(*crop.shape[:2], loaded.spec))
        exact = self._models.get(ref, loaded.device, "float32")
        networks = (self._network(each, ref.output) for each in (loaded, exact))
        lower, full = (network.scores(pixels) for network in networks)
        return compare(lower, full, crop.shape[:2])

    @staticmethod
    def _run_key(ref: ModelRef, loaded: LoadedModel, key: str) -> str:
        return f"{ref.key()} {sorted(ref.switches.items())} {loaded.device} {loaded.precision} {key}"


def probe_spec(loaded: LoadedModel, probe_id: str) -> ProbeSpec:
    """The probe with this id. Raises UserError naming those there are."""
    for spec in loaded.spec.probes:
        if spec.id == probe_id:
            return spec
    known = ", ".join(spec.id for spec in loaded.spec.probes)
    raise UserError(
        f"{loaded.spec.title} has no probe {probe_id!r}", action=f"It has {known}" if known else "It has none"
    )


def _check_image(image: NDArray[np.uint8]) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(f"an image is (H, W, 3) uint8, not {image.shape} {image.dtype}")


def _new_maps(size: tuple[int, ...], num_classes: int, confidence: bool, entropy: bool) -> Maps:
    height, width = size
    kind = np.uint8 if num_classes <= 256 else np.uint16
    return Maps(
        np.zeros((height, width), kind),
        np.zeros((height, width), np.uint8) if confidence else None,
        np.zeros((height, width), np.uint8) if entropy else None,
    )


def _classes_found(labels: NDArray[Any]) -> tuple[TaxonomyClass, ...]:
    """A plugin that does not say how many classes it has gets as many names as it used."""
    return loaded_models.class_table(int(labels.max()) + 1, WeightsFacts())


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return peak_resident_bytes()
