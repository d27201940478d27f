"""All conformance checks of one plugin: its facts, then every model built and run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from segstudio.core.errors import UserError
from segstudio.core.plugin_sources import PluginSource, file_source
from segstudio.plugin_api import ModelSpec, Plugin, PretrainingSpec, conformance
from segstudio.plugin_api.specs import OptionValue
from segstudio.registry import Registry
from segstudio.worker.model_building import build

_MOST_CLASSES = 2
"""Of a switch over classes, so many are tried: every class takes the same way."""


def check_all(name: str, progress: Callable[[int, int, str], None] | None = None) -> Sequence[str]:
    """`name`: a plugin file, or an installed plugin's name. Sentences about what does not fit.

    `progress(place, models, id)` is called before each model that can run here; behind the id stands how a
    way of pre-training is run that needs a file as it is declared.
    """
    try:
        registry, plugin = _load(name)
    except UserError as error:
        return [str(error)]
    problems = conformance.check_plugin(plugin)
    if problems:
        return problems
    for reference in filter(None, (plugin.identify, plugin.load, plugin.check)):
        try:
            registry.resolve(plugin, reference)
        except UserError as error:
            problems.append(str(error))
    runnable = [spec for spec in (*plugin.models, *plugin.pretraining) if not spec.unavailable]
    for place, spec in enumerate(runnable, start=1):
        options, how = {}, ""
        if isinstance(spec, PretrainingSpec):
            options, how = _without_files(spec)
        if progress is not None:
            progress(place, len(runnable), spec.id + how)
        if isinstance(spec, ModelSpec):
            found = _check_model(registry, plugin, spec)
        else:
            found = _check_pretraining(registry, plugin, spec, options)
        problems += [f"{spec.id}: {problem}" for problem in found]
    return problems


def _load(name: str) -> tuple[Registry, Plugin]:
    path = Path(name)
    if path.suffix == ".py" or path.is_file():
        source = file_source(path, "file")
        if path.name == "__init__.py":
            # A package checked by its file: strings in it name the package.
            folder = path.absolute().parent
            source = PluginSource(folder.name, "file", str(path.absolute()), source.key)
        registry = Registry()
        return registry, registry.plugin(source)
    registry = Registry()
    for source in registry.sources():
        if source.name == name:
            return registry, registry.plugin(source)
    raise UserError(
        f"There is no plugin named {name!r}", action="Give a file, or the name of an installed one"
    )


def _check_model(registry: Registry, plugin: Plugin, spec: ModelSpec) -> Sequence[str]:
    try:
        model = build(registry, plugin, spec, num_classes=spec.num_classes, options={})
    except UserError as error:
        return [str(error)]
    if not _is_module(model):
        return conformance.check_predictor(model, num_classes=spec.num_classes)
    problems = conformance.check_segmentor(model, spec)
    if problems:
        return problems
    problems += conformance.check_side_outputs(model, spec)
    for probe in spec.probes:
        try:
            made = registry.resolve(plugin, probe.build)()
        except UserError as error:
            problems.append(str(error))
            continue
        problems += conformance.check_probe(model, spec, probe.id, made)
    for switch in spec.switches:
        apply = registry.resolve(plugin, switch.apply)
        values = switch.values(min(model.num_classes, _MOST_CLASSES))
        problems += conformance.check_switch(model, spec, switch.id, apply, values)
    return problems


def _without_files(spec: PretrainingSpec) -> tuple[dict[str, OptionValue], str]:
    """Choices with which no file of weights is needed, and in words what was chosen for that.

    No choices where none will do: such a way is not run.
    """
    options = {option.name: option.default for option in spec.options}
    lacking = spec.lacking(options)
    if lacking is None or lacking.needed_for is None:
        return options, ""
    name, value = lacking.needed_for
    for choice in next(option.choices for option in spec.options if option.name == name):
        if choice != value and spec.lacking(options | {name: choice}) is None:
            return options | {name: choice}, f" with {name} = {choice}, since {value} needs a {lacking.name}"
    return {}, f" is not run: it needs a {lacking.name}"


def _check_pretraining(
    registry: Registry, plugin: Plugin, spec: PretrainingSpec, options: dict[str, OptionValue]
) -> Sequence[str]:
    if not options:
        return []
    try:
        model = registry.resolve(plugin, spec.build)(spec.name, **options)
    except UserError as error:
        return [str(error)]
    except Exception as error:  # noqa: BLE001 - whatever it raises is the finding
        return [f"build raised {type(error).__name__}: {error}"]
    return conformance.check_pretraining(model, spec)


def _is_module(model: object) -> bool:
    from torch import nn

    return isinstance(model, nn.Module)
