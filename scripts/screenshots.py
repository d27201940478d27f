"""Takes the pictures of docs/tutorial.md: the real window, the demo, a real worker.

usage: python scripts/screenshots.py FOLDER [--size 1600x1000] [--theme dark|light] [--only NAME ...]

Runs on any screen, a virtual one (xvfb-run) or QT_QPA_PLATFORM=offscreen. Uses a home of its own, so that
the pictures are the same for everybody.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QEventLoop, QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget


def main() -> int:
    parser = argparse.ArgumentParser(description="Pictures of the window with the demo open.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", default="1600x1000")
    parser.add_argument("--theme", default="dark", choices=("dark", "light"))
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--open", type=Path, help="a folder of images instead of the demo")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        os.environ.setdefault("SEGSTUDIO_HOME", home)
        return _take(arguments)


def _take(arguments: argparse.Namespace) -> int:
    from segstudio.ui.application import make_application
    from segstudio.ui.main_window import MainWindow
    from segstudio.ui.window_actions import use_theme

    application = make_application()
    window = MainWindow()
    use_theme(arguments.theme)
    width, height = (int(part) for part in arguments.size.split("x"))
    window.resize(width, height)
    window.show()
    wait(lambda: window.services is not None, "the window")
    shelf = window.services.shelf

    def wanted(name: str) -> bool:
        return not arguments.only or name in arguments.only

    def keep(name: str) -> None:
        if wanted(name):
            settle(0.4)
            path = arguments.folder / f"{name}.png"
            window.grab().save(str(path))
            print(path, flush=True)

    wait(lambda: any(model.origin == "demo" for model in shelf.runnable), "the models", 120)
    settle(1.5)
    keep("first_launch")
    if arguments.open:
        window.open(arguments.open)
    else:
        window.open_demo()
    wait(lambda: window.session is not None and window.session.image is not None, "the first picture")
    settle(2.0)
    keep("annotate")
    steps: list[tuple[str, Callable[[MainWindow], None]]] = [
        ("compare", compare),
        ("attention", attention),
        ("train", train),
    ]
    for name, step in steps:
        titles = [entry.title for entry in window.rooms.entries]
        if name.title() in titles and wanted(name):
            window.enter(name.title())
            wait(lambda: window.rooms.current is not None, "the room")
            settle(0.5)
            step(window)
            keep(name)
    if wanted("networks"):
        networks(window)
        keep("networks")
    window.close()
    window.shut_down()
    application.processEvents()
    return 0


def compare(window: QWidget) -> None:
    """Runs the models of the demo and puts the cursor on the picture."""
    QTest.keyClick(window, Qt.Key.Key_R)
    wait_for_jobs(window)
    point_at(window, 0.35, 0.45)


def attention(window: QWidget) -> None:
    """Clicks a pixel."""
    wait_for_jobs(window)
    point_at(window, 0.3, 0.5, click=True)
    wait_for_jobs(window)
    settle(2.0)


def train(window: QWidget) -> None:
    settle(1.0)


def networks(window: QWidget) -> None:
    """Looks for the published weights of one network."""
    from segstudio.ui.models.opening import networks_page

    window.actions_table.action("window.networks").trigger()
    settle(0.5)
    QTest.keyClicks(networks_page(window).bar.search, "attention")
    settle(0.5)


def point_at(window: QWidget, x: float, y: float, *, click: bool = False) -> None:
    """Moves to (and clicks) the place at these shares of the window."""
    place = QPoint(int(window.width() * x), int(window.height() * y))
    target = window.childAt(place) or window
    local = target.mapFrom(window, place)
    QTest.mouseMove(target, local)
    if click:
        QTest.mouseClick(target, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, local)
    settle(0.3)


def wait_for_jobs(window: QWidget, seconds: float = 120) -> None:
    settle(1.0)
    jobs = window.services.jobs
    wait(lambda: all(job.is_over for job in jobs.jobs), "the jobs", seconds)
    settle(0.5)


def settle(seconds: float) -> None:
    """Lets the window work for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 20)


def wait(ready: Callable[[], bool], what: str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            sys.exit(f"waited {seconds:.0f} s for {what}")
        QApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 20)


if __name__ == "__main__":
    sys.exit(main())
