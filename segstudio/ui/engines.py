"""Making and starting what works behind the window: session, reader, worker, models, jobs."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segstudio.core.errors import UserError
from segstudio.ui.remembered import settings
from segstudio.ui.room import Services

if TYPE_CHECKING:
    from segstudio.runtime.model_shelf import ModelShelf
    from segstudio.ui.main_window import MainWindow


def make_services(window: MainWindow, plugin_files: Sequence[Path]) -> Services:
    """The window's shared objects; no process runs yet. Imports what the first paint did without."""
    from segstudio.runtime.jobs import JobQueue
    from segstudio.runtime.model_shelf import ModelShelf
    from segstudio.runtime.session import ProjectSession
    from segstudio.runtime.worker_client import WorkerClient
    from segstudio.ui.canvas.viewport import Viewport

    return Services(
        session=ProjectSession(WorkerClient(reader=True, parent=window), window),
        actions=window.actions_table,
        status=window.status,
        viewport=Viewport(window),
        worker=WorkerClient(plugin_files=plugin_files, parent=window),
        shelf=ModelShelf(plugin_files=plugin_files, settings=settings(), parent=window),
        jobs=JobQueue(window),
    )


def start_engines(window: MainWindow) -> None:
    """List the models and start the worker process, which tells the devices it found."""
    services = window.services
    if services is None or services.worker is None or services.shelf is None:
        return
    worker, shelf = services.worker, services.shelf
    shelf.changed.connect(lambda: window.start_page.computer.show_models(shelf))
    shelf.problem.connect(window.show_error)
    shelf.consent_needed.connect(lambda source: _ask_consent(window, source))
    shelf.refresh()
    worker.crashed.connect(
        lambda how: window.status.notice.emit(
            f"The network process ended ({how}) and was started again", "", None
        )
    )
    worker.switched_off.connect(lambda model: _offer_switch_on(window, model))
    call = worker.request("devices")
    call.finished.connect(window.read_outs.show_devices)
    call.finished.connect(lambda values: _use_remembered_precision(shelf, values))
    call.failed.connect(lambda error: window.status_bar.set_device("No engine", str(error)))
    problem = second_opencv()
    if problem is not None:
        window.show_error(problem, warning=True)


def offered_precisions(devices: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """What the device that networks run on computes with: float32, and bfloat16 where it has it."""
    return ("float32", "bfloat16") if devices and devices[0].get("bfloat16") else ("float32",)


def _use_remembered_precision(shelf: ModelShelf, values: Mapping[str, Any]) -> None:
    wanted = settings().get("networks.precision", "float32")
    if wanted in offered_precisions(values.get("devices", [])):
        shelf.use_precision(wanted)


def stop_engines(services: Services) -> None:
    """End every process and thread, also where one of them fails to end; about a second at most."""
    with contextlib.ExitStack() as stack:
        stack.callback(services.session.reader.close)
        if services.worker is not None:
            stack.callback(services.worker.close)
        if services.shelf is not None:
            stack.callback(services.shelf.close)
        stack.callback(services.end_downloads)
        stack.callback(services.end_runs)
        stack.callback(services.end_predictions)
        stack.callback(services.session.shut_down)


def second_opencv() -> UserError | None:
    """A full opencv-python beside us brings a second Qt that can stop the window from starting."""
    found = importlib.util.find_spec("cv2")
    folder = Path(found.origin).parent if found is not None and found.origin else None
    if folder is None or not (folder / "qt").is_dir():
        return None
    return UserError(
        "The package opencv-python brings a Qt of its own, which breaks this window on some systems",
        where=f"in {folder}",
        action="Run: pip uninstall opencv-python && pip install --force-reinstall opencv-python-headless",
    )


def _ask_consent(window: MainWindow, source: Any) -> None:
    shelf = window.services.shelf if window.services is not None else None
    if shelf is None:
        return
    error = UserError(
        f"The plugin {source.name} is code that wants to run",
        where="from your plugin folder",
        action="Allow it only if you know where it comes from.",
    )
    window.notices.show_error(error, severity="warn", buttons=[("Allow", lambda: shelf.allow(source))])


def _offer_switch_on(window: MainWindow, model: str) -> None:
    worker = window.services.worker if window.services is not None else None
    if worker is None:
        return
    error = UserError(
        f"{model} is switched off",
        where="because it stopped the network process three times",
        action="Everything else goes on working.",
    )
    window.notices.show_error(error, buttons=[("Try again", lambda: worker.switch_on(model))])
