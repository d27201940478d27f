"""The 349 published checkpoints, as their publisher lists them: name, data set, reported mIoU, address.

Identity is the address. Licences are not stated by that list. `compared_with` names the implementation whose
key layout and outputs, for the configuration of each checkpoint, were compared with the network's.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from segstudio.plugin_api import Checkpoint
from segstudio.plugin_api.specs import OptionValue

# data set as listed -> (taxonomy id, classes)
DATASETS = {
    "Cityscapes": ("cityscapes", 19),
    "ADE20K": ("ade20k", 150),
    "Pascal VOC 2012 + Aug": ("pascal_voc", 21),
    "Pascal Context": ("pascal_context", 60),
    "Pascal Context 59": ("pascal_context_59", 59),
    "COCO-Stuff 164k": ("coco_stuff", 171),
    "COCO-Stuff 10k": ("coco_stuff", 171),
    "LoveDA": ("loveda", 7),
    "Potsdam": ("potsdam", 6),
    "Vaihingen": ("vaihingen", 6),
    "iSAID": ("isaid", 16),
    "Mapillary Vistas v1.2": ("mapillary_v1", 65),
}


@dataclass(frozen=True, slots=True)
class Published:
    """One line of the list. `model` is the canonical name, empty where the zoo has no such network."""

    name: str
    dataset: str
    miou: float
    miou_ms_flip: float | None
    url: str
    sha256_prefix: str
    model: str
    compared_with: str
    options: tuple[tuple[str, OptionValue], ...] = ()
    """What the configuration has otherwise than the model of that name."""

    @property
    def id(self) -> str:
        """The file's name without ending; names of configurations are not unique."""
        return self.url.rpartition("/")[2].removesuffix(".pth")

    @property
    def crop(self) -> tuple[int, int] | None:
        """Height and width of the training crop, as the configuration's name ends."""
        found = re.search(r"(\d+)x(\d+)$", self.name)
        return (int(found[1]), int(found[2])) if found else None

    @property
    def steps(self) -> int | None:
        """How long it was trained, as the configuration's name says ("-40k_")."""
        found = re.search(r"-(\d+)k_", self.name)
        return 1000 * int(found[1]) if found else None

    @property
    def checkpoint(self) -> Checkpoint:
        taxonomy, classes = DATASETS[self.dataset]
        metrics = [("mIoU", self.miou)]
        if self.miou_ms_flip is not None:
            metrics.append(("mIoU(ms+flip)", self.miou_ms_flip))
        return Checkpoint(
            id=self.id,
            url=self.url,
            sha256=self.sha256_prefix,
            taxonomy=taxonomy,
            num_classes=classes,
            metrics=tuple(metrics),
            layout_checked=bool(self.compared_with),
            options=self.options,
            dataset=self.dataset,
            crop=self.crop,
            steps=self.steps,
        )


@cache
def published() -> tuple[Published, ...]:
    """All listed checkpoints, in the order of the list."""
    from segstudio_zoo.names import UnknownModel, recipe_settings, resolve

    document = json.loads(Path(__file__).with_name("published.json").read_text())
    found = []
    for name, dataset, miou, miou_ms_flip, path, prefix in document["rows"]:
        try:
            meaning = resolve(name)
            model = meaning.name
            recipe = recipe_settings(name, meaning.segmentor)
            recipe.pop("num_classes", None)
            options = tuple(recipe.items())
        except UnknownModel:
            model, options = "", ()
        url = document["base"] + path
        compared = document["compared_with"] if model else ""
        found.append(Published(name, dataset, miou, miou_ms_flip, url, prefix, model, compared, options))
    return tuple(found)


@cache
def _by_model() -> dict[str, tuple[Checkpoint, ...]]:
    table: dict[str, list[Checkpoint]] = {}
    for item in published():
        if item.model:
            table.setdefault(item.model, []).append(item.checkpoint)
    return {name: tuple(checkpoints) for name, checkpoints in table.items()}


def checkpoints_of(name: str) -> tuple[Checkpoint, ...]:
    """The published checkpoints of the model with this canonical name."""
    return _by_model().get(name, ())
