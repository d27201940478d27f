"""What this computer can do: whether the window opens and one network runs, devices, folders, plugins."""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import subprocess
import sys

import segstudio
from segstudio.core.errors import UserError
from segstudio.core.program import child_environment

_WINDOW = """
from PySide6.QtWidgets import QApplication, QWidget
application = QApplication([])
widget = QWidget()
widget.grab()
print(application.platformName())
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> int:
    notes: list[str] = []
    window = _window()
    devices, model = _model(arguments)
    folders = _folders()
    if importlib.util.find_spec("cv2") is not None and _full_opencv():
        notes.append(
            "opencv-python brings a Qt of its own that breaks this window; use opencv-python-headless"
        )
    plugins, problems = _plugins(arguments)
    ready = window["ok"] and model["ok"]
    document = {
        "version": segstudio.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "window": window,
        "model": model,
        "devices": devices,
        "plugins": plugins,
        "problems": problems,
        "folders": folders,
        "notes": notes,
        "ok": ready,
    }
    if arguments.json:
        print(json.dumps(document))
        return 0 if ready else 2
    print(f"SegStudio {segstudio.__version__}, Python {platform.python_version()}, {platform.platform()}")
    print(f"window    {window['text']}")
    print(f"network   {model['text']}")
    for device in devices:
        print(f"device    {device['id']}: {device['title']}, {device['free'] / 2**30:.1f} GB free")
    for plugin in plugins:
        print(f"plugin    {plugin['name']}: {plugin['models']} models")
    for name, path in folders.items():
        print(f"{name:<9} {path}")
    for line in (*problems, *notes):
        print(f"note      {line}")
    return 0 if ready else 2


def _window() -> dict[str, object]:
    """Whether Qt paints a widget, on the screen or, where there is none, without."""
    environment = child_environment()
    program = [sys.executable, "-c", _WINDOW]
    if getattr(sys, "frozen", False):
        # The bundle's executable runs no scripts; its own window says the same.
        program = [sys.executable, "gui", "--smoke", "paint"]
    text = ""
    for extra in ({}, {"QT_QPA_PLATFORM": "offscreen"}):
        done = subprocess.run(
            program, env={**environment, **extra}, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode == 0:
            screen = done.stdout.strip() or "a screen"
            return {"ok": True, "text": f"opens ({extra.get('QT_QPA_PLATFORM') or screen})"}
        text = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return {"ok": False, "text": f"does not open: {text}"}


def _model(arguments: argparse.Namespace) -> tuple[list[dict[str, object]], dict[str, object]]:
    """The devices, and whether torch runs a network here."""
    try:
        import torch

        from segstudio.worker import devices

        found = devices.describe()
        device = devices.choose("auto")
        layer = torch.nn.Conv2d(3, 4, 3).to(device)
        with torch.no_grad():
            layer(torch.zeros((1, 3, 16, 16), device=device))
    except (ImportError, OSError, RuntimeError, UserError) as error:
        return [], {"ok": False, "text": f"cannot run: {error}"}
    return found, {"ok": True, "text": f"runs on {device} (torch {torch.__version__})"}


def _plugins(arguments: argparse.Namespace) -> tuple[list[dict[str, object]], list[str]]:
    from segstudio.registry import Registry

    registry = Registry(arguments.plugin)
    plugins: list[dict[str, object]] = []
    problems: list[str] = []
    for plugin in registry.plugins():
        plugins.append({"name": plugin.name, "models": len(plugin.models)})
        for reason in sorted({spec.unavailable for spec in plugin.models if spec.unavailable}):
            problems.append(f"{plugin.title}: {reason}")
    problems += [str(problem) for problem in registry.problems.values()]
    return plugins, problems


def _folders() -> dict[str, str]:
    from segstudio.core import settings

    return {
        "settings": str(settings.config_folder()),
        "data": str(settings.data_folder()),
        "plugins": str(settings.plugin_folder()),
        "logs": str(settings.log_folder()),
    }


def _full_opencv() -> bool:
    from importlib.metadata import distributions

    return any(str(item.metadata["Name"]).lower() == "opencv-python" for item in distributions())
