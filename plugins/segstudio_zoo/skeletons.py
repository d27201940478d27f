"""Networks on torch's "meta" device: keys and shapes without memory for weights, in milliseconds."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from segstudio_zoo.building import build_model, builder, option_names
from segstudio_zoo.names import Resolved, resolve


class _Drawingless(TorchFunctionMode):
    """Builds modules on the "meta" device without calling any initialiser: shapes are all that is asked."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__module__", "") == "torch.nn.init" or func in _DRAWING:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


_DRAWING = {Tensor.normal_, Tensor.uniform_}


def built(name: str, **arguments: Any) -> nn.Module:
    """The named network with these arguments of `create_model`, on the meta device and not drawn."""
    with torch.device("meta"), _Drawingless():
        return build_model(name, **arguments)


@cache
def skeleton(name: str) -> nn.Module:
    """The network of this name on the meta device, built once."""
    return built(name)


def needed_options(name: str, tried: Mapping[str, Any], inferred: Mapping[str, Any]) -> dict[str, Any]:
    """Of `tried`, what differs from what the name itself builds; layout options always stay."""
    if not tried:
        return {}
    found = resolve(name)
    defaults = dict(found.settings)
    known = _known_options(found)
    chosen = {}
    for key, value in inferred.items():
        if key in known and defaults.get(key, _default(found, key)) != value:
            chosen[key] = value
    return chosen


def _default(found: Resolved, option: str) -> Any:
    for entry in (found.segmentor, found.backbone):
        if entry is None:
            continue
        parameter = inspect.signature(builder(entry.build)).parameters.get(option)
        if parameter is not None:
            return parameter.default
    return None


def _known_options(found: Resolved) -> set[str]:
    known = option_names(found.backbone.build) | {"output_stride"}
    return known if found.segmentor is None else known | option_names(found.segmentor.build)


def optioned(name: str, options: Mapping[str, Any], num_classes: int | None = None) -> nn.Module | None:
    """The named network with those of `options` that it knows, or None where there is no such network."""
    known = _known_options(resolve(name))
    usable = {key: value for key, value in options.items() if key in known}
    try:
        return built(name, num_classes=num_classes, **usable)
    except (ValueError, NotImplementedError):
        return None
