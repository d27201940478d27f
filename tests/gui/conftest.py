"""What all tests of the window share: a home of their own, our theme, windows that are closed at the end."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PySide6.QtWidgets import QApplication

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
# Settings are read once a process: the home must be another one before anything asks for it.
os.environ["SEGSTUDIO_HOME"] = tempfile.mkdtemp(prefix="segstudio-gui-tests-")

from segstudio.core.project import Project
from segstudio.core.records import LabelClass
from segstudio.core.taxonomies import default_palette
from segstudio.runtime.turns import Turns
from segstudio.ui import theme
from segstudio.ui.main_window import MainWindow
from segstudio.ui.remembered import settings

CLASSES = ("Sky", "Building", "Pole", "Road")


@pytest.fixture(scope="session", autouse=True)
def themed(qapp: QApplication) -> Iterator[QApplication]:
    """The application with our style, font and style sheet."""
    theme.apply(qapp, "dark")
    yield qapp


@pytest.fixture(autouse=True)
def collected_here() -> Iterator[None]:
    """Cycles with widgets in them die in this thread, as in the application; never in a loading thread."""
    gc.disable()
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def fresh_settings() -> None:
    """No test sees what another one made the window remember."""
    for name in ("view", "window", "recent"):
        settings().set(name, None)


def picture(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 RGB, smooth enough to be told apart."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([(columns + 40 * seed) % 256, rows % 256, (rows + columns) % 256], -1).astype(np.uint8)


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """A folder with pictures; `classes=True` makes it a project with four classes."""

    def make(count: int = 3, size: tuple[int, int] = (320, 240), *, classes: bool = True) -> Path:
        folder = tmp_path / "Pictures"
        folder.mkdir(exist_ok=True)
        for number in range(count):
            Image.fromarray(picture(*size, number)).save(folder / f"image_{number:02}.png")
        if classes:
            project = Project.open(folder)
            project.set_classes(
                [
                    LabelClass(index, name, color, str(index + 1))
                    for index, (name, color) in enumerate(zip(CLASSES, default_palette(4), strict=True))
                ]
            )
            project.close()
        return folder

    return make


@pytest.fixture
def make_window(qtbot) -> Iterator[Callable[..., MainWindow]]:
    """A shown window with session and reader, without the worker process; closed after the test."""
    made: list[MainWindow] = []

    def make(folder: Path | None = None, *, size: tuple[int, int] = (1280, 800)) -> MainWindow:
        window = MainWindow(engines=False)
        made.append(window)
        qtbot.addWidget(window)
        window.resize(*size)
        with qtbot.waitSignal(window.painted):
            window.show()
        window.complete()
        if folder is not None:
            open_folder(qtbot, window, folder)
        return window

    yield make
    for window in made:
        window.close()


def open_folder(qtbot, window: MainWindow, folder: Path) -> None:
    """Open a project and wait until its first image and labels are there."""
    window.open(folder)
    qtbot.waitUntil(lambda: labels_are_there(window))


def enter(qtbot, window: MainWindow, title: str) -> Any:
    """Enter a room and wait until it is whole and in front; the room."""
    window.enter(title)
    qtbot.waitUntil(lambda: is_in_front(window, title))
    return window.rooms.current


def turns_taken(qtbot) -> None:
    """Wait until the work that waits for turns of the event loop is done, and what that asked for."""
    for _ in range(12):
        done: list[bool] = []
        turns = Turns()
        turns.add(lambda done=done: done.append(True))
        qtbot.waitUntil(lambda done=done: bool(done))


def is_in_front(window: MainWindow, title: str) -> bool:
    """Whether this room is whole and in front."""
    return window.rooms.current is not None and window.rooms.current.title == title


def whole(room: Any) -> Any:
    """A room with all its parts."""
    for _ in room.parts():
        pass
    return room


def labels_are_there(window: MainWindow) -> bool:
    """Whether a room is in front, the image in it is decoded and its labels are loaded."""
    session = window.session
    return (
        session is not None
        and window.rooms.current is not None
        and session.image is not None
        and session.image.complete
        and session.label_map is not None
    )
