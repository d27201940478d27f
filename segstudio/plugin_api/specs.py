"""The facts a plugin declares about its models, and their form as JSON.

Specs are plain frozen data: a short process lists them, the window reads them from a cache, and
forms, menus and documentation pages are made from them. Code is named by strings
("package.module:function") that only a worker resolves.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

OptionKind = Literal["int", "float", "bool", "choice", "str", "ints", "weights"]
OptionValue = bool | int | float | str | tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Option:
    """One thing a person may choose when a model is built. `choices` are listed for kind "choice".

    The value of kind "weights" is the path of a file of weights; in its place `build` gets its tensors by
    name, read where nothing in the file can run, or None where no file was chosen.
    `needed_for` (name, value): this one must be given where the option of that name has that value.
    """

    name: str
    kind: OptionKind
    default: OptionValue
    help: str = ""
    choices: tuple[OptionValue, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    needed_for: tuple[str, OptionValue] | None = None


@dataclass(frozen=True, slots=True)
class Preprocess:
    """What happens to an 8-bit RGB image before the network: (x - mean) / std, on the 0-255 scale."""

    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Published or bundled weights of one model.

    `sha256` may be the published prefix only. `path` is set for weights that lie on this computer.
    `layout_checked` says whether the key layout was compared with a reference implementation. `dataset` is
    what it was trained on, as people call it; `crop` (height, width) what it saw of a picture in training,
    which took `steps`.
    """

    id: str
    url: str = ""
    path: str = ""
    sha256: str = ""
    bytes: int | None = None
    licence: str = "not stated by the list"
    taxonomy: str = ""
    num_classes: int | None = None
    preprocess: Preprocess | None = None
    metrics: tuple[tuple[str, float], ...] = ()
    layout_checked: bool = False
    options: tuple[tuple[str, OptionValue], ...] = ()
    dataset: str = ""
    crop: tuple[int, int] | None = None
    steps: int | None = None


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """One thing a person can look at inside a model.

    `build` ("module:function") gives a `Probe`; `query` is what a click means to it; `options` are
    further choices such as layer, head or hop; `group` collects the maps of one module in the window.
    """

    id: str
    title: str
    build: str
    query: Literal["pixel", "channel", "class", "region", "global"] = "pixel"
    kind: Literal["map", "vector", "matrix", "regions", "points", "images"] = "map"
    options: tuple[Option, ...] = ()
    group: str = ""
    help: str = ""
    signed: bool = False
    rows_sum_to_one: bool = True


@dataclass(frozen=True, slots=True)
class SwitchSpec:
    """A part that can be turned off or replaced at inference with the same weights.

    `apply` ("module:function") is called as `apply(model, value)` and returns a context manager that
    puts the part back when it is left. `trained` is the value the weights were trained with. With `per_class`
    the index of every class of the network is a value too, beside `choices`. At a value in
    `from_labels` the part works from the picture's labels: before `apply` is called the worker sets the
    model's `region_truth` to them, (1, H, W) int64 of the size of the pass, -1 where nobody knows.
    """

    id: str
    title: str
    apply: str
    choices: tuple[OptionValue, ...]
    trained: OptionValue
    help: str = ""
    from_labels: tuple[OptionValue, ...] = ()
    per_class: bool = False

    def values(self, num_classes: int) -> tuple[OptionValue, ...]:
        """Every value of the switch on a network of so many classes."""
        classes = range(num_classes) if self.per_class else ()
        return (*self.choices, *(index for index in classes if index not in self.choices))


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model a person can choose. `id` is "<plugin>/<name>" and is stored in projects: it is stable.

    `build` is resolved in a worker only and called as `build(name, num_classes=..., **options)`.
    `min_size` and `size_divisor` are pixels; the worker pads (by reflection) and crops, never the model.
    `side_outputs` are supervised outputs that the model has as its options are by default, `optional_outputs`
    those that other options or weights bring. `unavailable` holds one sentence where the model cannot run on
    this computer. `paper` is an address; `system` is what the family is called in print, `parts` are the
    paper's own terms.
    """

    id: str
    title: str
    family: str
    paper: str = ""
    year: int = 0
    build: str = ""
    options: tuple[Option, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    probes: tuple[ProbeSpec, ...] = ()
    switches: tuple[SwitchSpec, ...] = ()
    side_outputs: tuple[str, ...] = ()
    min_size: int = 1
    size_divisor: int = 1
    num_classes: int | None = None
    taxonomy: str = ""
    preprocess: Preprocess = Preprocess()
    backbone: str = ""
    search_aliases: tuple[str, ...] = ()
    trainable: bool = False
    unavailable: str = ""
    system: str = ""
    paper_title: str = ""
    authors: str = ""
    venue: str = ""
    parts: tuple[str, ...] = ()
    optional_outputs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The last part of the id: what a person types."""
        return self.id.rpartition("/")[2]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Every side output that a model of this spec may have."""
        return (*self.side_outputs, *self.optional_outputs)


@dataclass(frozen=True, slots=True)
class PretrainingSpec:
    """One way of training a network on pictures without labels. `id` is "<plugin>/<name>" and is stable.

    `build` is called in the training program as `build(name, **options)` and gives a `PretrainingModel`. An
    option called "image_size" (height, width in pixels) is always given: it is the size of the recipe's
    crops, and its default, the trained size, is what a new recipe begins with.
    `size_divisor` is what both sides must be divisible by. `backbones` are backbones of the plugin that can
    start from the weights it leaves. `rate` is the learning rate a new recipe begins with, for AdamW.
    """

    id: str
    title: str
    system: str = ""
    paper: str = ""
    year: int = 0
    build: str = ""
    options: tuple[Option, ...] = ()
    preprocess: Preprocess = Preprocess()
    size_divisor: int = 1
    rate: float = 0.0001
    backbones: tuple[str, ...] = ()
    paper_title: str = ""
    authors: str = ""
    venue: str = ""
    parts: tuple[str, ...] = ()
    search_aliases: tuple[str, ...] = ()
    unavailable: str = ""

    @property
    def name(self) -> str:
        """The last part of the id: what a person types."""
        return self.id.rpartition("/")[2]

    def lacking(self, chosen: Mapping[str, OptionValue]) -> Option | None:
        """The first option that is needed with these choices and empty; others than these are as declared."""
        values = {option.name: option.default for option in self.options} | dict(chosen)
        for option in self.options:
            if option.needed_for is not None and not values[option.name]:
                other, value = option.needed_for
                if values[other] == value:
                    return option
        return None


@dataclass(frozen=True, slots=True)
class Plugin:
    """What an entry point of the group "segstudio.plugins", or `PLUGIN` in a single file, names.

    `identify` ("module:function") is called as `identify(state_dict)` and `load` as
    `load(model, state_dict, strict=True)`; both are empty where a plugin has no checkpoints of its own.
    `check` is called as `check()` when the plugin is listed, in a process of its own, and may import what the
    models need: it gives one sentence where none of them can run on this computer, else "". `pretraining` are
    ways of training a network on pictures without labels.
    """

    name: str
    title: str
    models: tuple[ModelSpec, ...]
    version: str = ""
    identify: str = ""
    load: str = ""
    notes: tuple[str, ...] = ()
    check: str = ""
    pretraining: tuple[PretrainingSpec, ...] = ()


def plugin_to_json(plugin: Plugin) -> dict[str, Any]:
    """The plugin as plain JSON values. Tuples become lists."""
    return dataclasses.asdict(plugin)


def plugin_from_json(document: dict[str, Any]) -> Plugin:
    """The plugin that `plugin_to_json` wrote.

    Raises ValueError naming the field where the document does not fit.
    """
    try:
        result = _reader(Plugin)(document)
    except _Misfit as misfit:
        raise ValueError(f"plugin{misfit.where}: {misfit.words}") from misfit
    assert isinstance(result, Plugin)
    return result


class _Misfit(ValueError):
    """A value that does not fit; `where` grows from the inside out, so that it costs nothing until then."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words, self.where = words, ""


@functools.cache
def _reader(expected: Any) -> Callable[[Any], Any]:
    """What reads a value (from JSON) as `expected`: a dataclass, tuple, union, literal or plain type.

    Made once a type: a plugin lists thousands of values.
    """
    if dataclasses.is_dataclass(expected) and isinstance(expected, type):
        return _object_reader(expected)
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin is tuple:
        return _tuple_reader(arguments)
    if origin in (typing.Union, types.UnionType):
        return _union_reader(expected, arguments)
    if origin is Literal:
        return _literal_reader(arguments)
    return _plain_reader(expected)


def _object_reader(kind: type) -> Callable[[Any], Any]:
    readers = {name: _reader(hint) for name, hint in typing.get_type_hints(kind).items()}

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _Misfit(f"expected an object, found {type(value).__name__}")
        fields = {}
        for name in value:
            if name not in readers:
                raise _Misfit(f"unknown field {min(set(value) - set(readers))!r}")
            try:
                fields[name] = readers[name](value[name])
            except _Misfit as misfit:
                misfit.where = f".{name}{misfit.where}"
                raise
        try:
            return kind(**fields)
        except TypeError as error:
            raise _Misfit(str(error)) from error

    return read


def _tuple_reader(arguments: tuple[Any, ...]) -> Callable[[Any], Any]:
    alike = len(arguments) == 2 and arguments[1] is Ellipsis
    readers = [_reader(kind) for kind in arguments if kind is not Ellipsis]

    def read(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise _Misfit(f"expected a list, found {type(value).__name__}")
        if not alike and len(value) != len(readers):
            raise _Misfit(f"expected {len(readers)} values, found {len(value)}")
        result = []
        for index, item in enumerate(value):
            try:
                result.append(readers[0 if alike else index](item))
            except _Misfit as misfit:
                misfit.where = f"[{index}]{misfit.where}"
                raise
        return tuple(result)

    return read


def _union_reader(expected: Any, arguments: tuple[Any, ...]) -> Callable[[Any], Any]:
    readers = [_reader(kind) for kind in arguments]

    def read(value: Any) -> Any:
        if value is None and type(None) in arguments:
            return None
        for reader in readers:
            try:
                return reader(value)
            except _Misfit:
                continue
        raise _Misfit(f"{value!r} is none of {expected}")

    return read


def _literal_reader(arguments: tuple[Any, ...]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if value not in arguments:
            raise _Misfit(f"{value!r} is none of {', '.join(map(repr, arguments))}")
        return value

    return read


def _plain_reader(expected: Any) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        found = type(value)
        if found is expected:
            return value
        if expected is float and found is int:
            return float(value)
        if expected is type(None):
            raise _Misfit(f"expected nothing, found {value!r}")
        if not isinstance(value, expected) or (expected in (int, float) and found is bool):
            raise _Misfit(f"expected {expected.__name__}, found {found.__name__}")
        return value

    return read
