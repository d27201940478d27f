"""From a plugin's way of pre-training to a module: its options, files of weights among them, and weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from segstudio.core.errors import UserError
from segstudio.plugin_api import Plugin, PretrainingSpec
from segstudio.registry import Registry, plugin_error
from segstudio.worker import devices
from segstudio.worker.checkpoints import WeightsFile, read_weights

NEEDED = ("losses", "pictures", "param_groups", "advance")


def build_pretraining(
    registry: Registry,
    plugin: Plugin,
    spec: PretrainingSpec,
    options: Mapping[str, Any],
    weights: WeightsFile | None = None,
) -> nn.Module:
    """The module, with the tensors of `weights` where they are given.

    A file that an option names is read from the disk. With weights that a run of this spec left, it need not
    be there any longer: they hold what was in it under the option's name, or it was only what the run began
    with. Raises UserError.
    """
    if spec.unavailable:
        raise UserError(f"{spec.title} cannot run here: {spec.unavailable}")
    kept = weights.tensors if weights is not None else {}
    arguments = dict(options)
    for option in spec.options:
        if option.kind == "weights":
            path = arguments.get(option.name) if weights is None else None
            arguments[option.name] = _tensors(option.name, path, kept)
    build = registry.resolve(plugin, spec.build)
    try:
        module = build(spec.name, **arguments)
    except UserError:
        raise
    except Exception as error:
        if devices.is_out_of_memory(error):
            raise
        raise plugin_error(plugin.title, f"{spec.title} cannot be built", error) from error
    missing = [name for name in NEEDED if not callable(getattr(module, name, None))]
    if not isinstance(module, nn.Module) or missing:
        raise UserError(f"{spec.title} cannot be trained: it has no {', '.join(missing) or 'parameters'}")
    if weights is not None:
        try:
            module.load_state_dict(weights.tensors)
        except RuntimeError as error:
            raise UserError(
                f"{weights.path.name} does not fit {spec.title}",
                where=f"({' '.join(str(error).split())[:300]})",
                action="Use the options it was trained with.",
            ) from error
    return module


def _tensors(name: str, path: object, kept: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    inside = {
        key.removeprefix(f"{name}."): value for key, value in kept.items() if key.startswith(f"{name}.")
    }
    if inside:
        return inside
    return read_weights(Path(str(path))).tensors if path else None
