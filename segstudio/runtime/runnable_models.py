"""Which models can run on this computer: those with weights here, in the order in which they are offered.

Looks into files and folders, so it is called on a thread.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from segstudio.core.checked_weights import known_finding
from segstudio.core.downloaded_weights import checkpoint_folder, downloaded, on_this_computer
from segstudio.core.errors import UserError
from segstudio.core.resources import resource
from segstudio.core.taxonomies import first_classes, load_taxonomy, taxonomy_names
from segstudio.core.weights_facts import WeightsFacts, read_facts
from segstudio.plugin_api import Checkpoint, ModelSpec, Plugin

Origin = Literal["demo", "checkpoint", "run", "file", "plugin"]


@dataclass(frozen=True)
class RunnableModel:
    """A model with its weights, ready to run. `ref` is what requests to the worker take as `model`."""

    key: str
    title: str
    ref: dict[str, Any] = field(hash=False)
    class_names: tuple[str, ...]
    class_colors: tuple[tuple[int, int, int], ...]
    origin: Origin

    @property
    def output(self) -> str:
        """The side output that is looked at; "" is the final one."""
        return str(self.ref.get("output") or "")

    @property
    def scale(self) -> float:
        """The size at which the network sees a picture, against the picture's own."""
        return float(self.ref.get("scale") or 1.0)

    @property
    def full_title(self) -> str:
        """The title, and which output and input size it is where those are not the final and the own one."""
        size = f" · at {scale_words(self.scale)}" if self.scale != 1.0 else ""
        return self.output_title + size

    @property
    def output_title(self) -> str:
        """The title, and which output it is where that is not the final one."""
        return f"{self.title} · output: {self.output}" if self.output else self.title

    def with_output(self, output: str) -> RunnableModel:
        """The same model with the same weights, seen at another of its outputs."""
        ref = {name: value for name, value in self.ref.items() if name != "output"}
        return replace(self, ref={**ref, "output": output} if output else ref)

    def with_scale(self, scale: float) -> RunnableModel:
        """The same model with the same weights, shown pictures at `scale` times their size."""
        ref = {name: value for name, value in self.ref.items() if name != "scale"}
        return replace(self, ref={**ref, "scale": scale} if scale != 1.0 else ref)

    def seen_as(self, other: RunnableModel) -> RunnableModel:
        """This model at the output and the input size at which `other` is seen."""
        return self.with_output(other.output).with_scale(other.scale)


def scale_words(scale: float) -> str:
    """0.5×: an input size against the picture's own."""
    return f"{scale:g}×"


def find_runnable(
    plugins: Sequence[Plugin], run_folders: Sequence[Path], opened: Sequence[Mapping[str, Any]]
) -> Iterable[RunnableModel]:
    """Demo checkpoints first, then finished runs, files opened by hand, checkpoints, plain plugins.

    `opened` are the entries of the files that a person opened: `path`, `ref` (JSON), `title`.
    """
    specs = {spec.id: spec for plugin in plugins for spec in plugin.models}
    for path in sorted(resource("demo", "checkpoints").glob("*.safetensors")):
        yield from _of_file(specs, path, "demo", f"demo:{path.stem}")
    for root in run_folders:
        for path in sorted(root.glob("*/checkpoints/*.safetensors")):
            yield from _of_file(specs, path, "run", f"run:{path.parents[1].name}/{path.stem}")
    for entry in opened:
        path, ref = Path(str(entry.get("path", ""))), json.loads(str(entry.get("ref", "{}")))
        if path.is_file() and str(ref.get("model", "")) in specs:
            title = str(entry.get("title", "")) or path.stem
            facts = _known_classes(_facts(path), str(ref.get("taxonomy", "")), ref.get("num_classes"))
            yield _runnable(f"file:{path}", title, ref, facts, "file")
    folder = checkpoint_folder()
    for plugin in plugins:
        for spec in plugin.models:
            yield from _of_spec(plugin, spec, folder)


def _of_file(specs: Mapping[str, ModelSpec], path: Path, origin: Origin, key: str) -> Iterable[RunnableModel]:
    facts = _facts(path)
    spec = specs.get(facts.model)
    if spec is None:
        return
    ref = _ref(spec.id, weights=str(path), num_classes=facts.num_classes, options=dict(facts.options))
    title = facts.title or (spec.title if origin == "demo" else f"{path.parents[1].name} ({path.stem})")
    yield _runnable(key, title, ref, facts, origin)


def _of_spec(plugin: Plugin, spec: ModelSpec, folder: Path) -> Iterable[RunnableModel]:
    """The spec's checkpoints on this computer; a plugin without `load` brings its own weights.

    A file that was found to be another than the published one is not offered; one that nobody compared yet
    is: the worker compares it before it uses it.
    """
    if spec.unavailable:
        return
    here = [
        (checkpoint, path)
        for checkpoint in spec.checkpoints
        if (path := on_this_computer(checkpoint, folder)) and not _is_another(checkpoint, folder)
    ]
    names = [checkpoint.dataset for checkpoint, _ in here]
    for checkpoint, path in here:
        ref = _ref(spec.id, checkpoint=checkpoint.id, num_classes=checkpoint.num_classes)
        title = " · ".join(filter(None, (spec.title, checkpoint.dataset)))
        if names.count(checkpoint.dataset) > 1 and checkpoint.crop is not None:
            title += f" {checkpoint.crop[1]} × {checkpoint.crop[0]}"
        facts = _known_classes(_facts(path), checkpoint.taxonomy, checkpoint.num_classes)
        yield _runnable(f"{spec.id}@{checkpoint.id}", title, ref, facts, "checkpoint")
    if not plugin.load and not spec.trainable:
        yield _runnable(spec.id, spec.title, _ref(spec.id), WeightsFacts(), "plugin")


def _is_another(checkpoint: Checkpoint, folder: Path) -> bool:
    path = downloaded(checkpoint, folder) if checkpoint.url else None
    return path is not None and known_finding(checkpoint, path) is False


def _known_classes(facts: WeightsFacts, taxonomy: str, number: int | None) -> WeightsFacts:
    """The facts with the classes of a data set, where they name none and the number is right."""
    if facts.classes or taxonomy not in taxonomy_names():
        return facts  # a plugin may name a data set of its own
    classes = load_taxonomy(taxonomy).classes
    fitting = classes if number is None else first_classes(classes, number)
    return facts if fitting is None else replace(facts, classes=fitting)


def _ref(
    model: str,
    *,
    weights: str | None = None,
    checkpoint: str | None = None,
    num_classes: int | None = None,
    options: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "model": model,
        "weights": weights,
        "checkpoint": checkpoint,
        "num_classes": num_classes,
        "options": options or {},
        "switches": {},
    }


def _runnable(
    key: str, title: str, ref: dict[str, Any], facts: WeightsFacts, origin: Origin
) -> RunnableModel:
    names = tuple(entry.name for entry in facts.classes)
    colors = tuple(entry.color for entry in facts.classes)
    return RunnableModel(key, title, ref, names, colors, origin)


def _facts(path: Path) -> WeightsFacts:
    try:
        return read_facts(path)
    except UserError:
        return WeightsFacts()  # the worker says what is wrong when the file is used
