"""A small labelled project in a temporary folder, and a plugin whose models answer from a file of answers.

The plugin runs in the real worker process; its answers are the labels, worn at the borders, so that there
is something to compare.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject

from segstudio.core.project import Project
from segstudio.core.records import LabelClass
from segstudio.core.taxonomies import load_taxonomy
from segstudio.runtime.actions import ActionTable
from segstudio.runtime.jobs import JobQueue
from segstudio.runtime.model_shelf import ModelShelf
from segstudio.runtime.session import ProjectSession
from segstudio.runtime.worker_client import WorkerClient
from segstudio.ui.canvas.viewport import Viewport
from segstudio.ui.room import Services, WindowStatus

PLUGIN = '''
"""Two models that know the answers, one better than the other."""
from pathlib import Path

import numpy as np

from segstudio.plugin_api import ModelSpec, Plugin, Prediction


class Answers:
    def __init__(self, name):
        self.num_classes = 11
        stored = np.load(Path(__file__).with_name("answers.npz"))
        self.answers = {key.split("/")[1]: stored[key] for key in stored.files if key.startswith(name + "/")}

    def predict(self, image, *, cancel):
        labels = self.answers[str(int(image[::4, ::4].astype(np.int64).sum()))]
        edge = np.zeros(labels.shape, bool)
        edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
        edge[1:] |= labels[1:] != labels[:-1]
        return Prediction(labels, np.where(edge, 0.5, 0.95).astype(np.float32))


def build(name, *, num_classes=None, **options):
    return Answers(name.rpartition("/")[2])


def spec(name, title):
    return ModelSpec(
        f"answers/{name}", title, "Answers", build="answers:build", num_classes=11, taxonomy="street"
    )


PLUGIN = Plugin("answers", "Answers", (spec("rough", "Rough net"), spec("fine", "Fine net")), version="1")
'''


def street(width: int = 192, height: int = 128, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A picture (H, W, 3) RGB and its labels (H, W): sky, buildings, road, pavement, cars, unlabelled."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((height, width), np.uint8)
    horizon = height // 3
    labels[horizon:] = 1
    labels[height * 2 // 3 :] = 3
    labels[height * 2 // 3 :, : width // 5] = 4
    for _ in range(3):
        x, y = int(rng.integers(width // 4, width - 40)), height * 2 // 3 - 8
        labels[y : y + 22, x : x + 34] = 8
    labels[-6:] = 255
    colors = np.array([entry.color for entry in load_taxonomy("street").classes], np.float32)
    picture = colors[np.minimum(labels, 10)] * 0.6 + rng.normal(40, 12, (height, width, 3))
    return np.clip(picture, 0, 255).astype(np.uint8), labels


def worn(labels: NDArray[np.uint8], amount: int, seed: int) -> NDArray[np.uint8]:
    """The labels moved about by up to `amount` pixels, without unlabelled ones."""
    rng = np.random.default_rng(seed)
    height, width = labels.shape
    filled = np.where(labels == 255, 3, labels)
    shift = cv2.GaussianBlur(rng.normal(size=(2, height, width)).astype(np.float32)[0], (0, 0), 6)
    other = cv2.GaussianBlur(rng.normal(size=(height, width)).astype(np.float32), (0, 0), 6)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    scale = amount / max(float(np.abs(shift).max()), 1e-6)
    return cv2.remap(
        filled,
        columns + shift * scale,
        rows + other * scale,
        cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_REPLICATE,
    )


def make_project(
    folder: Path, scenes: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]], *, names: Sequence[str] = ()
) -> Path:
    """Writes images, labels and the plugin; gives the plugin's file. The last scene stays unlabelled."""
    images = folder / "Streets"
    images.mkdir(parents=True)
    plugin = folder / "plugin" / "answers.py"
    plugin.parent.mkdir()
    plugin.write_text(PLUGIN, encoding="utf-8")
    answers = {}
    for number, (picture, labels) in enumerate(scenes):
        name = names[number] if names else f"scene_{number}"
        cv2.imwrite(str(images / f"{name}.png"), picture[..., ::-1])
        key = str(int(picture[::4, ::4].astype(np.int64).sum()))
        answers[f"rough/{key}"] = worn(labels, 9, number)
        answers[f"fine/{key}"] = worn(labels, 3, number + 100)
    np.savez(plugin.with_name("answers.npz"), **answers)
    project = Project.open(images)
    project.scan()
    classes = load_taxonomy("street").classes
    project.set_classes([LabelClass(index, entry.name, entry.color) for index, entry in enumerate(classes)])
    for record, (_, labels) in list(zip(project.images(), scenes, strict=True))[:-1]:
        project.import_labels(record.id, labels)
        project.set_status(record.id, "done")
    project.close()
    return plugin


class Bench(QObject):
    """The services of one window without the window."""

    def __init__(self, *plugins: Path) -> None:
        super().__init__()
        self.reader = WorkerClient(reader=True, parent=self)
        self.worker = WorkerClient(plugin_files=plugins, parent=self)
        self.session = ProjectSession(self.reader, self)
        self.shelf = ModelShelf(plugin_files=plugins, parent=self)
        self.services = Services(
            session=self.session,
            actions=ActionTable(self),
            status=WindowStatus(),
            viewport=Viewport(self),
            worker=self.worker,
            shelf=self.shelf,
            jobs=JobQueue(self),
        )

    def close(self) -> None:
        self.session.shut_down()
        self.shelf.close()
        self.worker.close()
        self.reader.close()
