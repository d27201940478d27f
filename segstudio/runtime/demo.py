"""The demo project: a person's own copy of the bundled pictures, with its classes and ground truth."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from segstudio.core import palette_png
from segstudio.core.project import Project
from segstudio.core.records import LabelClass
from segstudio.core.resources import resource
from segstudio.core.settings import data_folder

_KEYS = "1234567890"
_FILLED = "demo.filled"


def demo_folder() -> Path:
    """Where the person's copy of the demo lies; made at the first call. Raises OSError."""
    target = data_folder() / "demo" / "Demo street"
    if not target.is_dir():
        fresh = target.with_name("Demo street.new")
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(resource("demo", "images"), fresh)
        fresh.rename(target)
    return target


def fill_demo(project: Project) -> None:
    """Give the project the demo's classes and labels, once; later changes of a person stay.

    Raises UserError where the project cannot be written, OSError where the bundle is incomplete.
    """
    if project.read_only or project.settings.get(_FILLED):
        return
    document = json.loads(resource("demo", "classes.json").read_text("utf-8"))
    project.set_classes(
        [
            LabelClass(
                index,
                entry["name"],
                (entry["color"][0], entry["color"][1], entry["color"][2]),
                _KEYS[index] if index < len(_KEYS) else "",
                False,
                tuple(entry.get("aliases", ())),
            )
            for index, entry in enumerate(document["classes"])
        ]
    )
    project.scan()
    for record in project.images():
        labels = resource("demo", "labels", f"{Path(record.path).stem}.png")
        if labels.is_file():
            project.import_labels(record.id, palette_png.read(labels)[0], tool="ground truth")
            project.set_status(record.id, "done")
    _add_runs(project)
    project.settings.set(_FILLED, True)


def _add_runs(project: Project) -> None:
    """The story of the demo's own training, so that its curves and pictures can be looked through."""
    bundled = resource("demo", "runs")
    for folder in sorted(bundled.iterdir()) if bundled.is_dir() else ():
        target = project.home / "runs" / folder.name
        if not target.exists():
            shutil.copytree(folder, target)
