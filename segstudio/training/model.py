"""From a recipe to the network that is trained: found in the registry, built, given its first weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from segstudio.core.errors import UserError
from segstudio.core.recipe import Recipe
from segstudio.core.weights_facts import WeightsFacts
from segstudio.plugin_api import ModelSpec, Plugin, Preprocess, PretrainingSpec, TaxonomyClass
from segstudio.registry import Registry, plugin_error
from segstudio.worker.checkpoints import read_weights
from segstudio.worker.pretraining_building import build_pretraining

NEEDED = ("scores", "forward", "losses", "param_groups")


@dataclass(frozen=True)
class Trainee:
    """A network in training and the facts its weights will carry."""

    module: nn.Module
    spec: ModelSpec | PretrainingSpec
    preprocess: Preprocess
    facts: WeightsFacts
    notes: tuple[str, ...] = ()


def build_trainee(recipe: Recipe) -> Trainee:
    """The recipe's network for its task.

    Raises UserError where it is unknown, cannot be trained, or its options do not fit.
    """
    registry = Registry([Path(file) for file in recipe.plugin_files])
    if recipe.task == "pretraining":
        return _build_pretraining(recipe, registry)
    plugin, spec = registry.find(recipe.model)
    if spec.unavailable:
        raise UserError(f"{spec.title} cannot run here: {spec.unavailable}")
    if not spec.trainable or not spec.build:
        raise UserError(f"{spec.title} cannot be trained", action="Choose a network that says so.")
    build = registry.resolve(plugin, spec.build)
    try:
        module = build(spec.name, num_classes=recipe.num_classes, **recipe.options)
    except Exception as error:
        raise plugin_error(plugin.title, f"{spec.title} cannot be built", error) from error
    missing = [name for name in NEEDED if not callable(getattr(module, name, None))]
    if not isinstance(module, nn.Module) or missing:
        raise UserError(f"{spec.title} cannot be trained: it has no {', '.join(missing) or 'parameters'}")
    preprocess = spec.preprocess
    if recipe.mean is not None and recipe.std is not None:
        preprocess = Preprocess(recipe.mean, recipe.std)
    notes = _start_from(module, recipe, registry, plugin) if recipe.weights else ()
    facts = WeightsFacts(
        model=spec.id,
        title=recipe.title or spec.title,
        num_classes=recipe.num_classes,
        options=dict(recipe.options),
        preprocess=preprocess,
        classes=tuple(TaxonomyClass(entry.name, entry.color) for entry in recipe.classes),
    )
    return Trainee(module, spec, preprocess, facts, notes)


def _build_pretraining(recipe: Recipe, registry: Registry) -> Trainee:
    plugin, spec = registry.find_pretraining(recipe.model)
    width, height = recipe.crop
    if width % spec.size_divisor or height % spec.size_divisor:
        raise UserError(
            f"The crop is {width}x{height}, and {spec.title} needs sides divisible by {spec.size_divisor}",
            action="Choose another crop.",
        )
    options = dict(recipe.options)
    if any(option.name == "image_size" for option in spec.options):
        options["image_size"] = (height, width)
    module = build_pretraining(registry, plugin, spec, options)
    try:
        module.param_groups(recipe.lr)  # type: ignore[operator]
    except ValueError as error:  # something without which there is nothing to learn, such as a tokenizer
        raise UserError(f"{spec.title} cannot be trained: {error}") from error
    preprocess = spec.preprocess
    if recipe.mean is not None and recipe.std is not None:
        preprocess = Preprocess(recipe.mean, recipe.std)
    notes = _start_from(module, recipe, registry, plugin) if recipe.weights else ()
    facts = WeightsFacts(
        model=spec.id, title=recipe.title or spec.title, options=options, preprocess=preprocess
    )
    return Trainee(module, spec, preprocess, facts, notes)


def _start_from(module: nn.Module, recipe: Recipe, registry: Registry, plugin: Plugin) -> tuple[str, ...]:
    """Loads what fits of the recipe's weights; the class scores of another class list never do."""
    if not plugin.load:
        raise UserError(f"{plugin.title} cannot load weights", action="Leave the start weights empty.")
    state = read_weights(Path(recipe.weights)).tensors
    load = registry.resolve(plugin, plugin.load)
    try:
        report = load(module, state, strict=False)
    except Exception as error:
        raise plugin_error(plugin.title, f"{recipe.weights} does not fit {recipe.model}", error) from error
    if not report.loaded:
        raise UserError(f"Nothing in these weights fits {recipe.model}", where=recipe.weights)
    left = len(report.missing) + len(report.mismatched)
    note = f"started from {Path(recipe.weights).name}: {len(report.loaded)} tensors loaded, {left} drawn anew"
    return (note,)
