"""Builds the network a resolved name means, and hands every option to the part that knows it."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from segstudio.plugin_api import Option
from segstudio.plugin_api.option_values import problem_of
from segstudio_zoo.names import Resolved, resolve

DEFAULT_CLASSES = 19
"""Of a segmentor whose name fixes none: Cityscapes, which most published checkpoints know."""

EVERY = "all"
"""What `out_indices` may be instead of block numbers."""

_CLASSES = Option("num_classes", "int", DEFAULT_CLASSES, minimum=1)


def builder(path: str) -> Callable[..., nn.Module]:
    """The function named "package.module:function"."""
    module, _, function = path.partition(":")
    found: Callable[..., nn.Module] = getattr(importlib.import_module(module), function)
    return found


def option_names(path: str) -> set[str]:
    """The options a builder takes: its keyword-only parameters."""
    parameters = inspect.signature(builder(path)).parameters.values()
    return {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}


def _may_be_none(path: str, option: str) -> bool:
    """Whether a builder has a meaning for None, beside its default."""
    return "None" in str(inspect.signature(builder(path)).parameters[option].annotation)


def build_model(
    name: str, *, backbone: str | None = None, num_classes: int | None = None, **options: Any
) -> nn.Module:
    """See `segstudio_zoo.create_model`."""
    found = resolve(name, backbone)
    trunk_options = option_names(found.backbone.build)
    head_options = option_names(found.segmentor.build) if found.segmentor else set()
    valid = (trunk_options | head_options | {"output_stride"}) - {"num_classes"}
    for option in options:
        if option not in valid:
            known = ", ".join(sorted(valid))
            raise TypeError(f"{found.name} has no option {option!r}; its options are {known}.")
    _check_values(found, options, head_options)
    chosen = {key: value for key, value in found.settings.items() if key in valid}
    if num_classes is None:
        stated = found.settings.get("num_classes", DEFAULT_CLASSES)
        assert isinstance(stated, int)
        num_classes = stated
    problem = problem_of(_CLASSES, num_classes)
    if problem:
        raise ValueError(f"{found.name}: num_classes {problem}, not {num_classes!r}.")
    chosen.update(options)
    return _assemble(found, num_classes, chosen, trunk_options, head_options)


def _check_values(found: Resolved, options: Mapping[str, Any], head_options: set[str]) -> None:
    """Raises ValueError for a value that its option cannot have; an option that head and backbone share is
    the head's."""
    for part in (found.segmentor, found.backbone):
        for option in part.options if part is not None else ():
            if option.name not in options or (part is found.backbone and option.name in head_options):
                continue
            given = options[option.name]
            if given is None and _may_be_none(part.build, option.name):
                continue
            problem = problem_of(option, given)
            if problem and not (option.name == "out_indices" and given == EVERY):
                raise ValueError(f"{found.name}: option {option.name!r} {problem}, not {given!r}.")


def _assemble(
    found: Resolved, num_classes: int, chosen: dict[str, Any], trunk: set[str], head: set[str]
) -> nn.Module:
    output_stride = chosen.pop("output_stride", found.output_stride)
    if found.segmentor is None:
        chosen.pop("align_corners", None)
    trunk_arguments = {key: value for key, value in chosen.items() if key in trunk and key not in head}
    network = builder(found.backbone.build)(
        found.variant.name, output_stride=output_stride, **trunk_arguments
    )
    trunk_file = found.backbone.build.partition(":")[0]
    network.network_files = ("", trunk_file)
    if found.segmentor is None:
        network.zoo_name = found.name
        return network.eval()
    head_arguments = {key: value for key, value in chosen.items() if key in head}
    try:
        model = builder(found.segmentor.build)(network, num_classes=num_classes, **head_arguments)
    except ValueError as error:
        why, wish = str(error).rstrip("."), found.segmentor.expects
        if wish and not wish.endswith("."):
            wish = f"It stands on {wish}."
        raise ValueError(
            f"{found.segmentor.title} cannot stand on {found.variant.name}: {why}. {wish}".rstrip()
        ) from error
    model.network_files = (found.segmentor.build.partition(":")[0], trunk_file)
    model.zoo_name = found.name
    return model.eval()
