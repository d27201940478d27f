"""Starts the application: one QApplication with the theme, one window, and an end that never hangs."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from segstudio.core.errors import UserError
from segstudio.core.settings import log_folder
from segstudio.runtime.garbage import WindowThreadCollector
from segstudio.ui import theme
from segstudio.ui.icons import application_icon
from segstudio.ui.main_window import MainWindow
from segstudio.ui.remembered import settings

_SMOKE_SECONDS = 120


def make_application(arguments: Sequence[str] = ()) -> QApplication:
    """The one QApplication of this process, with our style, font and theme."""
    # Else Qt spreads scaled and translucent painting over threads, and the window waits until each of them
    # got a core: with networks, training or a fill at work 10 ms and more, for 1 to 2 ms of painting.
    os.environ["QT_NO_GUI_THREADPOOL"] = "1"
    existing = QApplication.instance()
    application = existing if isinstance(existing, QApplication) else QApplication(["segstudio", *arguments])
    application.setApplicationName("SegStudio")
    application.setOrganizationName("SegStudio")
    application.setDesktopFileName("segstudio")
    choice = settings().get("view.theme", "dark")
    theme.apply(application, choice if choice in ("system", "light", "dark") else "dark")
    return application


def run(
    *, folder: Path | None = None, plugin_files: Sequence[Path] = (), demo: bool = False, smoke: str = ""
) -> int:
    """Open the window and stay until it is closed; the exit code.

    `smoke` leaves by itself: "paint" after the first paint, "demo" after the demo showed a mask.
    """
    application = make_application()
    collector = WindowThreadCollector(application)
    # To be painted is all that "paint" asks for: nothing may start that has to be ended again.
    window = MainWindow(plugin_files=plugin_files, engines=smoke != "paint")
    if folder is not None:
        window.open(folder)
    elif demo or smoke == "demo":
        window.completed.connect(window.open_demo)
    # Painted after the first frame is out; nobody sees the frame's icon before the frame.
    window.painted.connect(lambda: application.setWindowIcon(application_icon()))
    window.painted.connect(_prepare_thread)
    _show_bugs(window)
    # Ctrl+C in the terminal closes the window like its cross; Python needs a turn now and then to see it.
    signal.signal(signal.SIGINT, lambda *_: window.close())
    turns = QTimer(window)
    turns.timeout.connect(lambda: None)
    turns.start(500)
    if smoke == "paint":
        window.painted.connect(window.close)
    elif smoke == "demo":
        from segstudio.ui.smoke import DemoSmoke

        watch = DemoSmoke(window, seconds=_SMOKE_SECONDS)
        watch.ended.connect(application.exit)
    if settings().get("window.maximised", False):
        window.showMaximized()
    else:
        window.show()
    code = application.exec()
    window.shut_down()
    collector.stop()
    return code


def _prepare_thread() -> None:
    from segstudio.runtime.window_thread import prepare_window_thread

    prepare_window_thread()


def _show_bugs(window: MainWindow) -> None:
    """An exception nobody caught becomes a card with its traceback instead of a line in a terminal."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: object) -> None:
        before(kind, error, trace)  # type: ignore[arg-type]
        if isinstance(error, Exception):
            import traceback

            details = "".join(traceback.format_exception(error))
            shown = (
                error
                if isinstance(error, UserError)
                else UserError(
                    "Something went wrong inside SegStudio",
                    where=f"({type(error).__name__})",
                    action=f"Your labels are saved. Copy the report; logs lie in {log_folder()}.",
                    details=details,
                )
            )
            window.show_error(shown)

    sys.excepthook = hook
