"""Checks that a plugin keeps its side of the interface; each gives sentences, none when all is well.

`segstudio plugin check` runs them in a process of its own; a plugin's own tests may call them directly.
Only numpy is needed: checks of a torch module use the torch that the module brought along.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from segstudio.plugin_api.predicting import Prediction
from segstudio.plugin_api.pretraining import Pictures
from segstudio.plugin_api.probing import ProbeMap, Query
from segstudio.plugin_api.specs import (
    ModelSpec,
    Option,
    Plugin,
    PretrainingSpec,
    plugin_from_json,
    plugin_to_json,
)

SIZES = ((1, 1), (7, 5), (33, 47))
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_DIMENSIONS = {"map": 2, "vector": 1, "matrix": 2, "regions": 2, "points": 2, "images": 3}
_TOLERANCE = 1e-4


def check_plugin(plugin: object) -> list[str]:
    """The facts alone: types, names, references, options. Runs nothing of the plugin."""
    if not isinstance(plugin, Plugin):
        return [f"PLUGIN is a {type(plugin).__name__}, expected segstudio.plugin_api.Plugin"]
    try:
        plugin_from_json(plugin_to_json(plugin))
    except ValueError as error:
        return [str(error)]
    problems = (
        [] if _NAME.fullmatch(plugin.name) else [f"the plugin's name {plugin.name!r} has odd characters"]
    )
    if not plugin.models and not plugin.pretraining:
        problems.append("the plugin declares no models")
    for reference in filter(None, (plugin.identify, plugin.load, plugin.check)):
        problems += _reference(plugin.name, reference)
    seen: set[str] = set()
    for spec in plugin.models:
        if spec.id in seen:
            problems.append(f"{spec.id} is declared twice")
        seen.add(spec.id)
        problems += _check_spec(plugin, spec)
    for way in plugin.pretraining:
        if way.id in seen:
            problems.append(f"{way.id} is declared twice")
        seen.add(way.id)
        problems += _check_pretraining_spec(plugin, way)
    return problems


def check_predictor(model: Any, *, num_classes: int | None = None) -> list[str]:
    """Runs `predict` on images of several sizes, down to one pixel."""
    if not callable(getattr(model, "predict", None)):
        return [f"{type(model).__name__} has no predict(image, *, cancel)"]
    problems: list[str] = []
    generator = np.random.default_rng(0)
    for height, width in SIZES:
        image = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        before = image.copy()
        where = f"predict on {width} x {height} pixels"
        try:
            found = model.predict(image, cancel=lambda: False)
        except Exception as error:  # noqa: BLE001 - whatever it raises is the finding
            problems.append(f"{where} raised {type(error).__name__}: {error}")
            continue
        if not np.array_equal(image, before):
            problems.append(f"{where} changed its input")
        problems += [
            f"{where}: {problem}" for problem in _check_prediction(found, image.shape[:2], num_classes)
        ]
    return problems


def check_segmentor(model: Any, spec: ModelSpec) -> list[str]:
    """Runs a torch module in evaluation mode on a small image: `scores`, `forward` and their agreement."""
    torch = sys.modules["torch"]
    missing = [name for name in ("scores", "forward") if not callable(getattr(model, name, None))]
    if missing:
        return [f"{type(model).__name__} has no {' and no '.join(missing)}"]
    number = getattr(model, "num_classes", None)
    if not isinstance(number, int):
        return [f"num_classes is {number!r}, expected a whole number"]
    side = _side(spec)
    image = torch.randn((2, 3, side, side), generator=torch.Generator().manual_seed(0))
    model.eval()
    try:
        with torch.no_grad():
            logits, align_corners = model.scores(image)
            output = model(image)
            again = model.scores(image)[0]
            single = model.scores(image[:1])[0]
    except Exception as error:  # noqa: BLE001 - whatever it raises is the finding
        return [f"scores or forward on {side} x {side} pixels raised {type(error).__name__}: {error}"]
    problems = []
    if logits.ndim != 4 or tuple(logits.shape[:2]) != (2, number):
        return [f"scores gave {tuple(logits.shape)}, expected (2, {number}, h, w)"]
    if tuple(output.shape) != (2, number, side, side):
        return [f"forward gave {tuple(output.shape)}, expected (2, {number}, {side}, {side})"]
    resize = torch.nn.functional.interpolate
    resized = resize(logits, (side, side), mode="bilinear", align_corners=align_corners)
    scale = max(1e-6, float(logits.abs().max()))
    if float((resized - output).abs().max()) > _TOLERANCE * scale:
        problems.append("forward is not scores resized bilinearly to the input size")
    if float((again - logits).abs().max()) > _TOLERANCE * scale:
        problems.append("two runs on one image differ in evaluation mode")
    if float((single - logits[:1]).abs().max()) > 10 * _TOLERANCE * scale:
        problems.append("an image's scores depend on its neighbours in the batch")
    return problems


def check_pretraining(model: Any, spec: PretrainingSpec) -> list[str]:
    """Runs a torch module that learns from pictures alone: losses of two pictures of noise, and its views."""
    wanted = ("losses", "pictures", "param_groups", "advance")
    missing = [name for name in wanted if not callable(getattr(model, name, None))]
    if missing:
        return [f"{type(model).__name__} has no {' and no '.join(missing)}"]
    size, cell = getattr(model, "image_size", None), getattr(model, "cell", None)
    if not isinstance(size, tuple) or len(size) != 2 or not isinstance(cell, int):
        return [f"image_size is {size!r} and cell {cell!r}, expected (height, width) and a whole number"]
    torch = sys.modules["torch"]
    image = torch.randn((2, 3, *size), generator=torch.Generator().manual_seed(0))
    try:
        model.train()
        model.advance(0.5)
        losses = model.losses(image)
        groups = model.param_groups(spec.rate)
        model.eval()
        with torch.no_grad():
            shown = model.pictures(image, seed=1)
            again = model.pictures(image, seed=1)
    except Exception as error:  # noqa: BLE001 - whatever it raises is the finding
        return [f"losses or pictures of {size[0]} x {size[1]} pixels raised {type(error).__name__}: {error}"]
    problems = [] if losses else ["losses gave none"]
    for name, (total, count, _) in losses.items():
        if not (float(count) > 0 and bool(torch.isfinite(total)) and total.requires_grad):
            problems.append(f"loss {name!r} is no finite sum over something that can be learnt from")
    if not any(group["params"] for group in groups):
        problems.append("param_groups gave no parameters")
    return problems + _check_pictures(shown, again, tuple(image.shape), cell)


def check_side_outputs(model: Any, spec: ModelSpec) -> list[str]:
    """Runs `side_outputs` of a torch module: every declared name gives class scores (N, K, h, w)."""
    if not spec.side_outputs:
        return []
    torch = sys.modules["torch"]
    side = _side(spec)
    image = torch.randn((1, 3, side, side), generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            found = {name: scores[0] for name, scores in model.side_outputs(image).items()}
    except Exception as error:  # noqa: BLE001 - whatever it raises is the finding
        return [f"side_outputs raised {type(error).__name__}: {error}"]
    problems = [f"side_outputs lacks {name!r}" for name in spec.side_outputs if name not in found]
    for name, logits in found.items():
        shape = tuple(logits.shape)
        if len(shape) != 4 or shape[:2] != (1, model.num_classes):
            problems.append(f"side output {name!r} is {shape}, expected (1, {model.num_classes}, h, w)")
    return problems


def check_probe(model: Any, spec: ModelSpec, title: str, probe: Any) -> list[str]:
    """Attaches a probe, runs the torch module, asks in the middle."""
    torch = sys.modules["torch"]
    side = _side(spec)
    image = torch.randn((1, 3, side, side), generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            plain = model.scores(image)[0]
            with probe.attach(model) as captured:
                watched = model.scores(image)[0]
            after = model.scores(image)[0]
            found = probe.map(captured, Query(_query_kind(spec, title), side / 2, side / 2))
    except Exception as error:  # noqa: BLE001 - whatever it raises is the finding
        return [f"probe {title} raised {type(error).__name__}: {error}"]
    problems = []
    if not (torch.allclose(plain, watched, atol=1e-5) and torch.equal(plain, after)):
        problems.append(f"probe {title} changes the network's scores")
    if not isinstance(captured.nbytes, int):
        problems.append(f"probe {title}: nbytes is no whole number")
    return problems + [f"probe {title}: {problem}" for problem in _check_map(found)]


def check_switch(
    model: Any, spec: ModelSpec, title: str, apply: Callable[..., Any], values: Sequence[Any]
) -> list[str]:
    """Sets a switch to each of its values and looks that the network is itself again afterwards.

    It may refuse values that this network lacks (a class beyond its classes) with a ValueError when it is
    set, but not all of them. A network that takes the picture's labels (`region_truth`, (N, H, W) int64, None
    where unknown) gets some.
    """
    torch = sys.modules["torch"]
    side = _side(spec)
    image = torch.randn((1, 3, side, side), generator=torch.Generator().manual_seed(0))
    problems = []
    if hasattr(model, "region_truth"):
        model.region_truth = torch.zeros((1, side, side), dtype=torch.int64)
    with torch.no_grad():
        before = model.scores(image)[0]
        refused: list[ValueError] = []
        for value in values:
            try:
                with contextlib.ExitStack() as stack:
                    try:
                        stack.enter_context(apply(model, value))
                    except ValueError as error:
                        refused.append(error)
                    else:
                        model.scores(image)
            except Exception as error:  # noqa: BLE001 - whatever it raises is the finding
                problems.append(f"switch {title} = {value!r} raised {type(error).__name__}: {error}")
            if not torch.equal(before, model.scores(image)[0]):
                problems.append(f"switch {title} = {value!r} leaves the network changed")
        if refused and len(refused) == len(values):
            problems.append(f"switch {title} refuses all of its values: {refused[0]}")
    return problems


def _side(spec: ModelSpec) -> int:
    divisor = max(1, spec.size_divisor)
    return -(-max(spec.min_size, 64) // divisor) * divisor


def _query_kind(spec: ModelSpec, title: str) -> Any:
    return next((probe.query for probe in spec.probes if title in (probe.id, probe.title)), "pixel")


def _reference(owner: str, reference: str) -> list[str]:
    return [] if _REFERENCE.fullmatch(reference) else [f"{owner}: {reference!r} is no 'module:function'"]


def _check_spec(plugin: Plugin, spec: ModelSpec) -> list[str]:
    problems = []
    if not spec.id.startswith(f"{plugin.name}/") or not _NAME.fullmatch(spec.name):
        problems.append(f"{spec.id}: an id is {plugin.name!r}, a slash and a plain name")
    if not spec.title:
        problems.append(f"{spec.id} has no title")
    if spec.min_size < 1 or spec.size_divisor < 1:
        problems.append(f"{spec.id}: min_size and size_divisor are at least 1")
    if min(spec.preprocess.std) <= 0:
        problems.append(f"{spec.id}: std has to be positive")
    if not spec.build and not spec.unavailable:
        problems.append(f"{spec.id} names no build")
    for reference in filter(
        None, (spec.build, *(p.build for p in spec.probes), *(s.apply for s in spec.switches))
    ):
        problems += _reference(spec.id, reference)
    for kind, names in (
        ("option", [option.name for option in spec.options]),
        ("probe", [probe.id for probe in spec.probes]),
        ("switch", [switch.id for switch in spec.switches]),
        ("side output", list(spec.outputs)),
        ("checkpoint", [checkpoint.id for checkpoint in spec.checkpoints]),
    ):
        problems += [f"{spec.id}: {kind} {name!r} occurs twice" for name in names if names.count(name) > 1][
            :1
        ]
    for option in spec.options:
        problems += [f"{spec.id}: option {option.name}: {problem}" for problem in _check_option(option)]
    for switch in spec.switches:
        if switch.trained not in switch.choices:
            problems.append(
                f"{spec.id}: switch {switch.id} was trained with {switch.trained!r}, no choice of it"
            )
    return problems


def _check_pretraining_spec(plugin: Plugin, spec: PretrainingSpec) -> list[str]:
    problems = []
    if not spec.id.startswith(f"{plugin.name}/") or not _NAME.fullmatch(spec.name):
        problems.append(f"{spec.id}: an id is {plugin.name!r}, a slash and a plain name")
    if not spec.title:
        problems.append(f"{spec.id} has no title")
    if spec.build:
        problems += _reference(spec.id, spec.build)
    elif not spec.unavailable:
        problems.append(f"{spec.id} names no build")
    sizes = [option.default for option in spec.options if option.name == "image_size"]
    if not sizes or not isinstance(sizes[0], tuple) or len(sizes[0]) != 2:
        problems.append(f'{spec.id}: no option "image_size" with (height, width) by default')
    for option in spec.options:
        problems += [f"{spec.id}: option {option.name}: {problem}" for problem in _check_option(option)]
        if option.needed_for is not None:
            name, value = option.needed_for
            other = next((other for other in spec.options if other.name == name), None)
            if other is None or value not in (*other.choices, other.default):
                problems.append(
                    f"{spec.id}: option {option.name} is needed for {name} = {value!r}, no choice"
                )
    return problems


def _check_option(option: Option) -> list[str]:
    kinds: dict[str, tuple[type, ...]] = {
        "int": (int,),
        "float": (int, float),
        "bool": (bool,),
        "str": (str,),
        "ints": (tuple,),
        "weights": (),
    }
    default = option.default
    if option.kind == "choice":
        return [] if default in option.choices else [f"its default {default!r} is none of its choices"]
    if default is not None and not isinstance(default, kinds[option.kind]):
        return [f"its default {default!r} is no {option.kind}"]
    if isinstance(default, int | float):
        if option.minimum is not None and default < option.minimum:
            return [f"its default {default!r} is below {option.minimum}"]
        if option.maximum is not None and default > option.maximum:
            return [f"its default {default!r} is above {option.maximum}"]
    return []


def _check_prediction(found: Any, size: tuple[int, ...], num_classes: int | None) -> list[str]:
    if not isinstance(found, Prediction):
        return [f"it gave a {type(found).__name__}, expected a Prediction"]
    problems = []
    labels = np.asarray(found.label_map)
    if labels.shape != tuple(size) or labels.dtype not in (np.uint8, np.uint16):
        problems.append(f"label_map is {labels.shape} {labels.dtype}, expected {tuple(size)} uint8 or uint16")
    elif num_classes and int(labels.max()) >= num_classes:
        problems.append(f"label_map holds {int(labels.max())}, but there are {num_classes} classes")
    if found.confidence is not None:
        confidence = np.asarray(found.confidence)
        if confidence.shape != tuple(size) or confidence.dtype != np.float32:
            problems.append(
                f"confidence is {confidence.shape} {confidence.dtype}, expected {tuple(size)} float32"
            )
        elif not ((confidence >= 0) & (confidence <= 1)).all():
            problems.append("confidence leaves the range 0..1")
    if found.scores is not None:
        scores = np.asarray(found.scores)
        if scores.ndim != 3 or scores.shape[1:] != tuple(size):
            problems.append(f"scores are {scores.shape}, expected (K, {size[0]}, {size[1]})")
    return problems


def _check_pictures(shown: Any, again: Any, shape: tuple[int, ...], cell: int) -> list[str]:
    if not isinstance(shown, Pictures):
        return [f"pictures gave a {type(shown).__name__}, expected Pictures"]
    problems = [] if shown.views else ["pictures have no views"]
    for name, view in shown.views.items():
        if tuple(view.shape) != shape:
            problems.append(f"view {name!r} is {tuple(view.shape)}, expected {shape}")
    cells = (shape[0], shape[2] // cell, shape[3] // cell)
    for name, grid in (("hidden", shown.hidden), ("error", shown.error)):
        if grid is not None and tuple(grid.shape) != cells:
            problems.append(f"{name} is {tuple(grid.shape)}, expected {cells}")
    if shown.hidden is not None and not bool((shown.hidden == again.hidden).all()):
        problems.append("the same seed hid other cells")
    return problems


def _check_map(found: Any) -> list[str]:
    if not isinstance(found, ProbeMap):
        return [f"it gave a {type(found).__name__}, expected a ProbeMap"]
    values = np.asarray(found.values)
    problems = []
    if values.ndim != _DIMENSIONS[found.kind]:
        problems.append(f"values of kind {found.kind} are {values.shape}")
    if values.dtype != np.float32 or not np.isfinite(values).all():
        problems.append("values are not finite float32")
    if found.rows_sum_to_one and found.kind in ("map", "vector") and abs(float(values.sum()) - 1) > 1e-3:
        problems.append(f"values are said to sum to one, but sum to {float(values.sum()):g}")
    return problems
