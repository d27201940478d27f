"""Starts a plugin from a template, or checks one."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import IO

from segstudio.core.errors import UserError
from segstudio.core.program import child_environment, program_command

MODEL_SECONDS = 600
"""How long one model may take to be built and checked."""

_MODULE = '''"""{title}: a SegStudio plugin."""

import numpy as np

from segstudio.plugin_api import ModelSpec, Option, Plugin, Prediction


class Threshold:
    def __init__(self, threshold):
        self.threshold = threshold

    def predict(self, image, *, cancel):
        """`image` is (H, W, 3) uint8 RGB; ask `cancel()` now and then in long work."""
        return Prediction((image.mean(axis=2) > self.threshold).astype(np.uint8))


def build(name, *, num_classes=None, threshold=128):
    return Threshold(threshold)


PLUGIN = Plugin(
    name="{name}",
    title="{title}",
    models=(
        ModelSpec(
            id="{name}/threshold",
            title="Threshold",
            family="Threshold",
            build="{name}:build",
            num_classes=2,
            options=(Option("threshold", "int", 128, "grey value", minimum=0, maximum=255),),
        ),
    ),
)
'''

_PROJECT = """[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "{package}"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["segstudio", "numpy"]

[project.entry-points."segstudio.plugins"]
{name} = "{name}:PLUGIN"

[tool.hatch.build.targets.wheel]
packages = ["{name}"]
"""

_TEST = """from {name} import PLUGIN, build

from segstudio.plugin_api import conformance


def test_the_facts_fit():
    assert conformance.check_plugin(PLUGIN) == []


def test_it_predicts():
    assert conformance.check_predictor(build("threshold"), num_classes=2) == []
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    new = verbs.add_parser("new", help="write a small package to start from")
    new.add_argument("folder", type=Path, metavar="FOLDER")
    check = verbs.add_parser("check", help="run a plugin in a process of its own and say what does not fit")
    check.add_argument("plugin_name", metavar="FILE|NAME")
    check.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    if arguments.what == "new":
        return _new(arguments.folder)
    if arguments.inside:
        from segstudio.worker.plugin_check import check_all

        problems = check_all(arguments.plugin_name, _report)
        for problem in problems:
            print(problem)
        return 2 if problems else 0
    return _check(arguments.plugin_name)


def _check(name: str) -> int:
    command = program_command("plugin", "check", "--inside", name)
    with subprocess.Popen(command, env=child_environment(), stderr=subprocess.PIPE, text=True) as process:
        lines: Queue[str] = Queue()
        Thread(target=_pass_on, args=(process.stderr, lines), daemon=True).start()
        last = line = "the start"
        while line:
            last = line
            try:
                line = lines.get(timeout=MODEL_SECONDS)
            except Empty as error:
                process.kill()
                raise UserError(
                    f"{name} did not go on for {MODEL_SECONDS} seconds", where=f"(last: {last.strip()})"
                ) from error
        code = process.wait()
    if code == 0:
        print(f"{name}: everything fits")
        return 0
    if code != 2:
        raise UserError(f"{name} ended the process that checked it", where=f"(exit code {code})")
    return 2


def _report(place: int, models: int, model: str) -> None:
    print(f"{place}/{models} {model}", file=sys.stderr, flush=True)


def _pass_on(source: IO[str], lines: Queue[str]) -> None:
    """Shows what the process writes while it runs; an empty line at its end."""
    for line in source:
        sys.stderr.write(line)
        lines.put(line)
    lines.put("")


def _new(folder: Path) -> int:
    name = re.sub(r"\W", "_", folder.name.lower())
    if not name.isidentifier():
        raise UserError(f"{folder.name!r} cannot be the name of a package", action="Begin it with a letter")
    if folder.exists() and any(folder.iterdir()):
        raise UserError("The folder is not empty", where=f"({folder})")
    title = name.replace("_", " ").strip().capitalize()
    files = {
        folder / "pyproject.toml": _PROJECT.format(name=name, package=name.replace("_", "-")),
        folder / name / "__init__.py": _MODULE.format(name=name, title=title),
        folder / "tests" / f"test_{name}.py": _TEST.format(name=name),
    }
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError("The plugin could not be written", where=f"to {folder}", action=str(error)) from error
    for path in files:
        print(path)
    print(f"Try: {Path(sys.argv[0]).name} plugin check {folder / name / '__init__.py'}", file=sys.stderr)
    return 0
