"""From a plugin's builder and a file of weights to a model: options, number of classes, tensors."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from segstudio.core.errors import UserError
from segstudio.plugin_api import Checkpoint, ModelSpec, Plugin
from segstudio.registry import Registry, plugin_error
from segstudio.worker import devices
from segstudio.worker.checkpoints import WeightsFile
from segstudio.worker.model_ref import ModelRef


@dataclass(frozen=True)
class BuiltModel:
    """A model and what it was built with; a torch module has its weights and is in evaluation mode."""

    model: Any
    options: Mapping[str, Any]
    num_classes: int | None


def build_model(
    registry: Registry,
    plugin: Plugin,
    spec: ModelSpec,
    ref: ModelRef,
    checkpoint: Checkpoint | None,
    weights: WeightsFile | None,
) -> BuiltModel:
    """The model of `ref`, filled from `weights`. Raises UserError with one sentence.

    A file that says for which network and how many classes it is gets believed; only if its tensors do not
    fit what it says, and for all others, the plugin looks at its keys, which takes about as long as building.
    """
    if weights is not None and weights.facts.model != spec.id:
        _refuse_pretraining(registry, weights)
    told = weights is not None and weights.facts.model == spec.id and weights.facts.num_classes is not None

    def built(*, look: bool) -> BuiltModel:
        options, num_classes = _build_arguments(registry, plugin, spec, ref, checkpoint, weights, look=look)
        model = build(registry, plugin, spec, num_classes=num_classes, options=options)
        if isinstance(model, nn.Module):
            if weights is not None:
                load_weights(registry, plugin, spec, model, weights)
            model.eval()
        return BuiltModel(model, options, num_classes)

    if told:
        with contextlib.suppress(UserError):  # the same is tried, and told, with what the keys say
            return built(look=False)
    return built(look=True)


def build(
    registry: Registry,
    plugin: Plugin,
    spec: ModelSpec,
    *,
    num_classes: int | None,
    options: Mapping[str, Any],
) -> Any:
    """Calls the plugin's builder. Raises UserError, with what the plugin said."""
    builder = registry.resolve(plugin, spec.build)
    arguments = dict(options)
    if num_classes is not None:
        arguments["num_classes"] = num_classes
    try:
        return builder(spec.name, **arguments)
    except Exception as error:
        if devices.is_out_of_memory(error):
            raise
        raise plugin_error(plugin.title, f"{spec.title} cannot be built", error) from error


def load_weights(
    registry: Registry, plugin: Plugin, spec: ModelSpec, model: nn.Module, weights: WeightsFile
) -> Any:
    """Puts the tensors into the model, strictly, by the plugin's own `load` where it has one.

    Raises UserError; the model then keeps the weights it had.
    """
    try:
        if plugin.load:
            return registry.resolve(plugin, plugin.load)(model, weights.tensors, strict=True)
        _check_keys(model, weights.tensors)
        return model.load_state_dict(weights.tensors, strict=True)
    except UserError:
        raise
    except Exception as error:
        report = getattr(error, "report", None)
        details = str(report) if report is not None else str(error)
        text = " ".join(str(error).split())
        raise UserError(
            f"{weights.path.name} does not fit {spec.title}",
            where=f"({text[:300]})",
            action="Choose the network it was trained with",
            details=details,
        ) from error


def identify(registry: Registry, tensors: Mapping[str, Tensor]) -> list[tuple[Plugin, Any]]:
    """What all plugins recognise in a state dict, best first within each plugin."""
    found = []
    for plugin in registry.plugins():
        if plugin.identify:
            try:
                names = registry.resolve(plugin, plugin.identify)(tensors)
            except UserError:
                raise
            except Exception as error:
                raise plugin_error(plugin.title, "it cannot identify this file", error) from error
            found += [(plugin, name) for name in names]
    return found


def _refuse_pretraining(registry: Registry, weights: WeightsFile) -> None:
    """Raises UserError where the file says that pre-training left it: it has no scores of classes."""
    if weights.facts.model and registry.is_pretraining(weights.facts.model):
        raise UserError(
            f"{weights.path.name} holds pre-training weights ({weights.facts.model}) to start a training "
            "from, not a network for masks",
            action=f"Train one with `segstudio train --weights {weights.path.name}`",
        )


def _check_keys(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """torch copies what fits before it complains about the rest; this looks first."""
    own = model.state_dict()
    wrong = sorted(set(own) ^ set(tensors)) + [
        key for key in own if key in tensors and own[key].shape != tensors[key].shape
    ]
    if wrong:
        raise ValueError(f"{len(wrong)} keys differ, the first is {wrong[0]!r}")


def _build_arguments(
    registry: Registry,
    plugin: Plugin,
    spec: ModelSpec,
    ref: ModelRef,
    checkpoint: Checkpoint | None,
    weights: WeightsFile | None,
    *,
    look: bool,
) -> tuple[dict[str, Any], int | None]:
    """Options and number of classes: what the person said, else the file's facts, else what its keys tell.

    The keys are asked where `look` is true.
    """
    options: dict[str, Any] = {}
    num_classes: int | None = None
    if look and weights is not None and plugin.identify:
        for found in registry.resolve(plugin, plugin.identify)(weights.tensors):
            if _same_name(found.name, spec):
                options.update(found.options)
                num_classes = found.num_classes
                break
    if checkpoint is not None:
        options.update(dict(checkpoint.options))
        num_classes = checkpoint.num_classes or num_classes
    if weights is not None:
        options.update(
            {key: tuple(v) if isinstance(v, list) else v for key, v in weights.facts.options.items()}
        )
        num_classes = weights.facts.num_classes or num_classes
    options.update(ref.options)
    return options, ref.num_classes or num_classes or spec.num_classes


def _same_name(name: str, spec: ModelSpec) -> bool:
    def plain(text: str) -> str:
        return text.lower().replace("_", "-")

    return plain(name) in {plain(spec.name), *map(plain, spec.search_aliases)}
