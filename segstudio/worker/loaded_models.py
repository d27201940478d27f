"""Models that are built, filled with weights, optimised for inference and kept for the next run."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segstudio.core.downloaded_weights import on_this_computer
from segstudio.core.errors import UserError
from segstudio.core.taxonomies import default_palette, first_classes, load_taxonomy
from segstudio.core.weights_facts import WeightsFacts
from segstudio.plugin_api import Checkpoint, ModelSpec, Plugin, Preprocess, TaxonomyClass
from segstudio.registry import Registry, plugin_error
from segstudio.worker import devices
from segstudio.worker.checkpoints import WeightsFile, read_weights
from segstudio.worker.folding import FoldReport, fold_batch_norms
from segstudio.worker.footprint import Footprint
from segstudio.worker.fused_convolution import FusionReport, fuse_activations
from segstudio.worker.memory import available_bytes
from segstudio.worker.model_building import build_model
from segstudio.worker.model_ref import ModelRef
from segstudio.worker.precision import Agreement, dtype_of, lower
from segstudio.worker.published_files import usable_file, write_copy
from segstudio.worker.side_outputs import no_output, output_scores

_EXAMPLE_SIDE = 64


@dataclass
class LoadedModel:
    """One model ready to run on `device`.

    `model` is a torch module, or any object with `predict`. `preprocess_source` says where the
    preprocessing came from. What was measured is kept by output ("" is the final one).
    """

    plugin: Plugin
    spec: ModelSpec
    model: Any
    device: torch.device
    num_classes: int
    classes: tuple[TaxonomyClass, ...]
    preprocess: Preprocess
    preprocess_source: str
    parameters: int
    options: Mapping[str, Any]
    notes: list[str] = field(default_factory=list)
    fold: FoldReport | None = None
    fusion: FusionReport | None = None
    footprints: dict[str, Footprint] = field(default_factory=dict)
    precision: str = "float32"
    dtype: torch.dtype = torch.float32
    autocast: bool = False
    agreements: dict[str, Agreement] = field(default_factory=dict)
    flops: dict[tuple[int, int, str], int | None] = field(default_factory=dict)
    sizes_run: set[tuple[int, int, str]] = field(default_factory=set)
    outputs_there: set[str] = field(default_factory=set)

    @property
    def is_torch(self) -> bool:
        return isinstance(self.model, nn.Module)

    @property
    def nbytes(self) -> int:
        if not self.is_torch:
            return 0
        tensors = [*self.model.parameters(), *self.model.buffers()]
        more = self.fusion.nbytes + self.fusion.packed_bytes if self.fusion is not None else 0
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors) + more


class ModelCache:
    """Keeps the models used last, within a budget of bytes of weights (always the newest one)."""

    def __init__(self, registry: Registry, *, budget: int | None = None, optimise: bool = True) -> None:
        self._registry = registry
        self._budget = budget if budget is not None else max(2**30, available_bytes() // 3)
        self._optimise = optimise
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()

    def get(self, ref: ModelRef, device: torch.device, precision: str = "float32") -> LoadedModel:
        """The model, loaded where it is not. Raises UserError."""
        key = f"{ref.key()} {device} {precision}"
        loaded = self._models.get(key)
        if loaded is None:
            loaded = load_model(self._registry, ref, device, precision, optimise=self._optimise)
            self._models[key] = loaded
        self._models.move_to_end(key)
        while len(self._models) > 1 and sum(model.nbytes for model in self._models.values()) > self._budget:
            self._models.popitem(last=False)
        return loaded

    def drop_others(self, keep: LoadedModel) -> bool:
        """Makes room for a run of `keep`. False where there was nothing to drop."""
        others = [key for key, model in self._models.items() if model is not keep]
        for key in others:
            del self._models[key]
        return bool(others)

    def clear(self) -> None:
        self._models.clear()


def load_model(
    registry: Registry,
    ref: ModelRef,
    device: torch.device,
    precision: str = "float32",
    *,
    optimise: bool = True,
) -> LoadedModel:
    """Builds the model of `ref` and loads its weights. Raises UserError with one sentence."""
    dtype = dtype_of(precision, device)
    plugin, spec = registry.find(ref.model)
    if spec.unavailable:
        raise UserError(f"{spec.title} cannot run on this computer: {spec.unavailable}")
    checkpoint = _checkpoint(spec, ref)
    path, copy = ref.weights, None
    if checkpoint is not None:
        path, copy = usable_file(checkpoint)
    weights = read_weights(path) if path is not None else None
    if weights is None and plugin.load and not ref.untrained:
        raise UserError(
            f"{spec.id} has no weights on this computer",
            action=f"Give a file (--weights FILE), or see `segstudio weights list {spec.id}`",
        )
    facts = weights.facts if weights is not None else WeightsFacts()
    built = build_model(registry, plugin, spec, ref, checkpoint, weights)
    model = built.model
    notes = list(weights.notes) if weights is not None else []
    if not isinstance(model, nn.Module) and not callable(getattr(model, "predict", None)):
        raise UserError(f"{plugin.title}: {spec.id} is neither a torch module nor has it a `predict`")
    preprocess, source = _preprocess(spec, ref, weights, checkpoint)
    number = int(getattr(model, "num_classes", 0) or built.num_classes or spec.num_classes or 0)
    loaded = LoadedModel(
        plugin=plugin,
        spec=spec,
        model=model,
        device=device,
        num_classes=number,
        classes=class_table(number, facts, ref.taxonomy, *_taxonomies(spec, checkpoint)),
        preprocess=preprocess,
        preprocess_source=source,
        parameters=sum(p.numel() for p in model.parameters()) if isinstance(model, nn.Module) else 0,
        options=built.options,
        notes=notes,
    )
    if copy is not None and checkpoint is not None and weights is not None and _is_plain(ref, checkpoint):
        problem = write_copy(loaded, weights, checkpoint, copy)
        notes += [problem] if problem else []
    if loaded.is_torch:
        _make_ready(loaded, optimise=optimise)
        if dtype is not torch.float32:
            loaded.precision, loaded.dtype = precision, dtype
            loaded.autocast = not lower(loaded.model, dtype, device, example_image(loaded.spec))
    return loaded


def class_table(number: int, facts: WeightsFacts, *taxonomies: str) -> tuple[TaxonomyClass, ...]:
    """Names and colours of `number` classes: the file's own, a named taxonomy's, or plain numbers."""
    own = first_classes(facts.classes, number)
    if own:
        plain = default_palette(number)
        has_colors = any(entry.color != (0, 0, 0) for entry in own)
        return tuple(
            entry if has_colors else TaxonomyClass(entry.name, plain[index], entry.aliases)
            for index, entry in enumerate(own)
        )
    for name in filter(None, taxonomies):
        classes = first_classes(load_taxonomy(name).classes, number)
        if classes is not None:
            return classes
    return tuple(
        TaxonomyClass(f"Class {index}", color) for index, color in enumerate(default_palette(number))
    )


def _taxonomies(spec: ModelSpec, checkpoint: Checkpoint | None) -> tuple[str, ...]:
    """Where class names may come from, the surest first; the number of classes has to fit."""
    named = checkpoint.taxonomy if checkpoint is not None else ""
    return (named, spec.taxonomy, *(found.taxonomy for found in spec.checkpoints))


def _checkpoint(spec: ModelSpec, ref: ModelRef) -> Checkpoint | None:
    """The declared checkpoint a ref names; without weights, the first one that lies on this computer."""
    if ref.weights is not None or ref.untrained:
        return None
    if ref.checkpoint is None:
        return next((found for found in spec.checkpoints if on_this_computer(found) is not None), None)
    for checkpoint in spec.checkpoints:
        if checkpoint.id == ref.checkpoint:
            if on_this_computer(checkpoint) is None:
                raise UserError(
                    f"Checkpoint {checkpoint.id} is not on this computer",
                    action=f"`segstudio weights fetch {spec.id} {checkpoint.id}` fetches it",
                )
            return checkpoint
    raise UserError(f"{spec.title} has no checkpoint named {ref.checkpoint!r}")


def _is_plain(ref: ModelRef, checkpoint: Checkpoint) -> bool:
    """Whether the ref asks for the checkpoint as published: only then its facts are the checkpoint's."""
    return (
        not ref.options
        and ref.preprocess is None
        and ref.num_classes in (None, checkpoint.num_classes)
        and ref.taxonomy in ("", checkpoint.taxonomy)
    )


def _preprocess(
    spec: ModelSpec, ref: ModelRef, weights: WeightsFile | None, checkpoint: Checkpoint | None
) -> tuple[Preprocess, str]:
    """Said by the person, a file beside the weights, their header, the catalogue by hash, the model's own."""
    if ref.preprocess is not None:
        return ref.preprocess, "as asked for"
    if weights is not None:
        if weights.facts.preprocess is not None:
            return weights.facts.preprocess, weights.facts.preprocess_source
        listed = checkpoint or _listed_by_hash(spec, weights.path)
        if listed is not None and listed.preprocess is not None:
            return listed.preprocess, f"catalogue entry {listed.id}"
    return spec.preprocess, "default of the model"


def _listed_by_hash(spec: ModelSpec, path: Path) -> Checkpoint | None:
    listed = [found for found in spec.checkpoints if found.sha256 and found.preprocess is not None]
    if not listed:
        return None
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return next((found for found in listed if digest.startswith(found.sha256.lower())), None)


def _make_ready(loaded: LoadedModel, *, optimise: bool) -> None:
    """Onto its device, batch norms folded, channels last: what every run profits from."""
    model: nn.Module = loaded.model
    if not callable(getattr(model, "scores", None)):
        raise UserError(f"{loaded.plugin.title}: {loaded.spec.id} is a torch module without `scores`")
    try:
        if optimise:
            loaded.fold = fold_batch_norms(model, example_image(loaded.spec))
            prepare = getattr(model, "optimise_for_inference", None)
            if callable(prepare):
                prepare()
        model.to(device=loaded.device)
        if optimise:
            model.to(memory_format=torch.channels_last)
        if optimise and loaded.device.type == "cpu":
            loaded.fusion = fuse_activations(
                model, example_image(loaded.spec, scale=2), budget=available_bytes() // 8
            )
    except RuntimeError as error:
        if devices.is_out_of_memory(error):
            raise
        raise plugin_error(loaded.plugin.title, f"{loaded.spec.title} cannot be moved", error) from error


def example_image(spec: ModelSpec, *, scale: int = 1) -> Tensor:
    """(1, 3, H, W): a small normalised picture of noise, of a size that the network takes."""
    step = max(1, spec.size_divisor)
    side = scale * (-(-max(spec.min_size, _EXAMPLE_SIDE) // step) * step)
    return torch.randn((1, 3, side, side), generator=torch.Generator().manual_seed(scale))


def require_output(loaded: LoadedModel, output: str) -> None:
    """Raises UserError with one sentence where the network, or its weights, have no such output.

    Weights are asked by one pass over a small picture of noise, the first time.
    """
    spec = loaded.spec
    if not output or output in loaded.outputs_there:
        return
    if output not in spec.outputs or not loaded.is_torch:
        raise no_output(spec.title, output, spec.outputs if loaded.is_torch else ())
    image = example_image(spec).to(loaded.device, torch.float32 if loaded.autocast else loaded.dtype)
    lowered = torch.autocast(loaded.device.type, dtype=loaded.dtype) if loaded.autocast else nullcontext()
    try:
        with torch.no_grad(), lowered:
            output_scores(loaded.model, spec, image, output)
    except UserError:
        raise
    except Exception as error:
        if devices.is_out_of_memory(error):
            raise
        raise plugin_error(loaded.plugin.title, f"output {output} of {spec.title} failed", error) from error
    loaded.outputs_there.add(output)


def count_flops(loaded: LoadedModel, height: int, width: int, output: str = "") -> int | None:
    """Floating point operations of one pass (a multiply-add counts two); None where they cannot be counted.

    Runs on fake tensors: nothing is computed.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode

    slot = (height, width, output)
    if slot not in loaded.flops:
        counter = FlopCounterMode(display=False)
        number: int | None
        try:
            with FakeTensorMode(allow_non_fake_inputs=True), counter, torch.no_grad():
                image = torch.empty(
                    (1, 3, height, width),
                    device=loaded.device,
                    dtype=torch.float32 if loaded.autocast else loaded.dtype,
                )
                output_scores(loaded.model, loaded.spec, image, output)
            number = int(counter.get_total_flops())
        except Exception:  # noqa: BLE001 - a network may look at values, which fake tensors have not
            number = None
        loaded.flops[slot] = number
    return loaded.flops[slot]
