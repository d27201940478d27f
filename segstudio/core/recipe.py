"""The complete recipe of a training run, as it stands in `run.toml`.

Frozen data without torch: the window's form, the command line and the training program share it. Every
field that changes a result is written down, also where it has its default.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from segstudio.core import atomic_file
from segstudio.core.errors import UserError
from segstudio.plugin_api import PretrainingSpec

RECIPE_VERSION = 1

OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("poly", "cosine")
PRECISIONS = ("32", "bf16", "16")
CLASS_WEIGHTS = ("none", "frequency")
TASKS = ("segmentation", "pretraining")

PRETRAINING_BEGINS_WITH: dict[str, Any] = {
    "epochs": 100,
    "batch": 16,
    "scale": (0.2, 1.0),
    "color": 0.0,
    "optimizer": "adamw",
    "schedule": "cosine",
    "weight_decay": 0.05,
}
"""What a new pre-training recipe has where nobody chose: He et al. (2111.06377), appendix A.1, with epochs
and a batch for one computer."""


@dataclass(frozen=True)
class RunClass:
    """One class of a run: its name and colour (red, green, blue)."""

    name: str
    color: tuple[int, int, int]


@dataclass(frozen=True)
class Recipe:
    """What is trained, on what, and how. Sizes are (width, height) in pixels, rates per optimiser step.

    `task` is "segmentation" (masks, from labels) or "pretraining" (from pictures alone, without classes).
    There `model` is a way of pre-training, and a crop is a part of the image with a share of its area drawn
    from `scale`, brought to the size `crop`.

    `steps_per_epoch` 0 means once over the training images. `crop` is cut from the image after scaling by
    a factor drawn log-uniformly from `scale`. `color` is the strength of brightness, contrast, saturation
    and hue changes, 0 for none. The rate rises over `warmup_steps`, then falls as `schedule`
    says: "poly", by `power`, or "cosine". `ohem` is the share of hardest pixels kept, 1 for all of them.
    `mean` and `std` None means the model's own preprocessing. `weights` is a file to start from.
    `view` holds the fields of `NetworkView`: what is seen of images that are not plain 8-bit RGB.
    """

    model: str
    classes: tuple[RunClass, ...]
    task: str = "segmentation"
    options: dict[str, Any] = field(default_factory=dict)
    view: dict[str, Any] = field(default_factory=dict)
    title: str = ""
    ignore: int = 255
    weights: str = ""
    plugin_files: tuple[str, ...] = ()
    epochs: int = 40
    steps_per_epoch: int = 0
    batch: int = 8
    accumulate: int = 1
    crop: tuple[int, int] = (512, 512)
    scale: tuple[float, float] = (0.5, 2.0)
    flip: bool = True
    color: float = 0.4
    optimizer: str = "sgd"
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 0.0005
    schedule: str = "poly"
    power: float = 0.9
    warmup_steps: int = 0
    clip_norm: float = 0.0
    class_weights: str = "none"
    ohem: float = 1.0
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    device: str = "auto"
    precision: str = "32"
    threads: int = 0
    workers: int = 2
    seed: int = 0
    validate_every: int = 1
    checkpoint_seconds: float = 60.0
    previews: int = 6
    version: int = RECIPE_VERSION

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        return tuple(entry.color for entry in self.classes)

    def checked(self) -> Recipe:
        """The recipe itself. Raises UserError naming the first value that makes no sense."""
        wrong = _first_problem(self)
        if wrong:
            raise UserError(wrong, where="in the recipe", action="Change it in run.toml or in the form.")
        return self


def check_given(spec: PretrainingSpec, options: Mapping[str, Any]) -> None:
    """Raises UserError where these options lack a file that this way of pre-training needs with them."""
    lacking = spec.lacking(options)
    if lacking is not None and lacking.needed_for is not None:
        other, value = lacking.needed_for
        raise UserError(
            f"{spec.title} needs a {lacking.name}: {lacking.help or 'a file'}",
            action=f"Give one, or set {other} to something other than {value}.",
        )


def _first_problem(recipe: Recipe) -> str:
    positive = ("epochs", "batch", "accumulate", "lr", "validate_every")
    for name in positive:
        if getattr(recipe, name) <= 0:
            return f"{name} is {getattr(recipe, name)}, expected more than 0"
    if min(recipe.crop) < 8:
        return f"crop is {recipe.crop[0]}x{recipe.crop[1]}, expected at least 8x8"
    if not 0 < recipe.scale[0] <= recipe.scale[1]:
        return f"scale is {recipe.scale[0]} to {recipe.scale[1]}, expected 0 < low <= high"
    if not 0 < recipe.ohem <= 1:
        return f"ohem is {recipe.ohem}, expected a share above 0 and at most 1"
    for name, choices in (
        ("optimizer", OPTIMIZERS),
        ("schedule", SCHEDULES),
        ("precision", PRECISIONS),
        ("class_weights", CLASS_WEIGHTS),
        ("task", TASKS),
    ):
        if getattr(recipe, name) not in choices:
            return f"{name} is {getattr(recipe, name)!r}, expected one of {', '.join(choices)}"
    if recipe.task == "pretraining":
        if recipe.scale[1] > 1:
            return f"scale goes up to {recipe.scale[1]}, expected shares of the image of at most 1"
        return ""
    if recipe.num_classes < 2:
        return f"there are {recipe.num_classes} classes, expected at least 2"
    if 0 <= recipe.ignore < recipe.num_classes:
        return f"ignore is {recipe.ignore}, which is also a class"
    return ""


def to_document(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values for TOML or JSON; None is left out, TOML has none."""
    document = dataclasses.asdict(recipe)
    document["classes"] = [{"name": entry.name, "color": list(entry.color)} for entry in recipe.classes]
    document["options"] = {key: value for key, value in recipe.options.items() if value is not None}
    for key, value in list(document.items()):
        if value is None:
            del document[key]
        elif isinstance(value, tuple):
            document[key] = list(value)
    # TOML wants plain values before tables.
    return {key: document[key] for key in sorted(document, key=lambda k: k in ("options", "view", "classes"))}


def from_document(document: dict[str, Any], *, where: str = "") -> Recipe:
    """The recipe that `to_document` wrote. Raises UserError where a field is unknown or does not fit."""
    fields = {entry.name: entry for entry in dataclasses.fields(Recipe)}
    if int(document.get("version", RECIPE_VERSION)) > RECIPE_VERSION:
        raise UserError("The run was made by a newer SegStudio", where=where, action="Install that version.")
    unknown = sorted(set(document) - set(fields))
    if unknown:
        raise UserError(f"The recipe has an unknown field {unknown[0]!r}", where=where)
    values = dict(document)
    try:
        values["classes"] = tuple(
            RunClass(str(entry["name"]), _color(entry["color"])) for entry in values.get("classes", ())
        )
        for name, value in values.items():
            if isinstance(value, list):
                values[name] = tuple(value)
            elif isinstance(value, dict):
                values[name] = {
                    key: tuple(item) if isinstance(item, list) else item for key, item in value.items()
                }
        for name in ("epochs", "steps_per_epoch", "batch", "accumulate", "seed", "threads", "workers"):
            if name in values:
                values[name] = int(values[name])
        for name in ("lr", "momentum", "weight_decay", "power", "color", "ohem", "checkpoint_seconds"):
            if name in values:
                values[name] = float(values[name])
        return Recipe(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"The recipe does not fit: {error}", where=where) from error


def _color(value: Any) -> tuple[int, int, int]:
    red, green, blue = (int(part) for part in value)
    return red, green, blue


def write_recipe(path: Path, recipe: Recipe) -> None:
    atomic_file.write_bytes(path, tomli_w.dumps(to_document(recipe)).encode())


def read_recipe(path: Path) -> Recipe:
    """Raises UserError where the file is missing, is no TOML or does not fit."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise UserError("There is no recipe", where=str(path), action="Is this a run folder?") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"The recipe cannot be read: {error}", where=str(path)) from error
    return from_document(document, where=str(path))
