"""Make, fill, copy out and check projects.

new FOLDER              make a project of a folder of images
import FOLDER --from P  read labels of another program into it
export FOLDER --to DIR  write its labels for another program
check FOLDER            look for damage, and repair what the history still holds
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from segstudio.core.errors import UserError
from segstudio.core.formats import FORMATS, find_format
from segstudio.core.label_exchange import ExchangeReport, import_labels
from segstudio.core.label_export import export_labels
from segstudio.core.project import Project
from segstudio.core.project_check import check_project
from segstudio.core.records import LabelClass, printable
from segstudio.core.taxonomies import default_palette, load_taxonomy


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    formats = ", ".join(entry.id for entry in FORMATS)
    parser.add_argument("action", choices=["new", "import", "export", "check"])
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the folder of images")
    parser.add_argument("--format", default="png", metavar="F", help=f"one of {formats} (default png)")
    parser.add_argument("--from", dest="source", type=Path, metavar="PATH", help="what to import")
    parser.add_argument("--to", "--out", dest="target", type=Path, metavar="DIR", help="where to export to")
    parser.add_argument(
        "--classes", type=Path, metavar="FILE", help="names of the classes, one a line, from number 0"
    )
    parser.add_argument("--taxonomy", metavar="T", help="the classes of a known data set or a JSON file")
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="VALUE=CLASS",
        help="import of number pictures: a stored value and the class number it means, or -1 for unlabelled",
    )
    parser.add_argument(
        "--repair", action="store_true", help="check: put damaged tiles back from the history"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> int:
    actions = {"new": _new, "import": _import, "export": _export, "check": _check}
    return actions[arguments.action](arguments)


def _new(arguments: argparse.Namespace) -> int:
    project = _open(arguments.folder)
    try:
        report = project.scan()
        classes = _classes(arguments)
        if classes:
            project.set_classes(classes)
        for path, why in report.skipped:
            print(f"segstudio: {printable(path)}: {why}", file=sys.stderr)
        document = {
            "folder": str(arguments.folder),
            "home": str(project.home),
            "images": report.total,
            "classes": len(project.classes),
        }
        _tell(arguments, document, f"{report.total} images, {len(project.classes)} classes in {project.home}")
        if project.home_note:
            print(f"segstudio: {project.home_note}", file=sys.stderr)
        return 0
    finally:
        project.close()


def _classes(arguments: argparse.Namespace) -> list[LabelClass]:
    if arguments.taxonomy:
        entries = load_taxonomy(arguments.taxonomy).classes
        return [
            LabelClass(index, entry.name, entry.color, aliases=entry.aliases)
            for index, entry in enumerate(entries)
        ]
    if not arguments.classes:
        return []
    try:
        names = [line.strip() for line in arguments.classes.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError("The class names cannot be read", where=f"from {arguments.classes}") from error
    palette = default_palette(len(names))
    return [LabelClass(index, name, palette[index]) for index, name in enumerate(names) if name]


def _import(arguments: argparse.Namespace) -> int:
    if arguments.source is None:
        raise UserError("Say what to import with --from PATH")
    project = _open(arguments.folder)
    try:
        report = import_labels(
            project,
            arguments.source,
            find_format(arguments.format),
            values=_values(arguments.map),
            progress=_progress(arguments),
        )
        if report.done + report.unchanged == 0:
            _notes(report)
            raise UserError("Nothing could be imported", where=f"from {arguments.source}")
        added = ", ".join(entry.name for entry in report.added)
        text = f"{report.done} images imported, {report.unchanged} unchanged"
        return _finish(arguments, report, text + (f"; new classes: {added}" if added else ""))
    finally:
        project.close()


def _values(words: list[str]) -> dict[int, int]:
    values: dict[int, int] = {}
    for word in words:
        stored, _, target = word.partition("=")
        try:
            values[int(stored)] = int(target)
        except ValueError as error:
            raise UserError(f"--map {word} is no VALUE=CLASS", action="For instance --map 255=1.") from error
    return values


def _export(arguments: argparse.Namespace) -> int:
    if arguments.target is None:
        raise UserError("Say where to export to with --to DIR")
    project = Project.open(arguments.folder, read_only=True)
    try:
        report = export_labels(
            project, arguments.target, find_format(arguments.format), progress=_progress(arguments)
        )
        if report.done == 0:
            raise UserError("No image has labels yet", where=f"in {arguments.folder}")
        return _finish(arguments, report, f"{report.done} images exported to {arguments.target}")
    finally:
        project.close()


def _finish(arguments: argparse.Namespace, report: ExchangeReport, text: str) -> int:
    _notes(report)
    document = {
        "done": report.done,
        "unchanged": report.unchanged,
        "added": [entry.name for entry in report.added],
        "notes": [str(note) for note in report.notes],
    }
    _tell(arguments, document, text)
    return 1 if report.notes else 0


def _check(arguments: argparse.Namespace) -> int:
    if arguments.repair:
        _open(arguments.folder).close()  # takes the lock once: nobody else may be writing
    report = check_project(arguments.folder, repair=arguments.repair)
    document = {
        "images": report.images,
        "tiles": report.tiles,
        "edits": report.edits,
        "sound": report.sound,
        "damages": [
            {"image": printable(item.image), "tile": item.tile, "what": item.what, "repaired": item.repaired}
            for item in report.damages
        ],
    }
    for damage in report.damages:
        print(f"segstudio: {damage}", file=sys.stderr)
    state = "no damage" if report.sound else f"{len(report.damages)} problems"
    _tell(arguments, document, f"{report.images} images, {report.tiles} tiles, {report.edits} edits: {state}")
    return 0 if report.sound else 1


def _open(folder: Path) -> Project:
    project = Project.open(folder)
    if project.read_only:
        reason = project.read_only_reason
        project.close()
        raise UserError("The project cannot be changed now", where=f"({folder})", action=reason)
    return project


def _progress(arguments: argparse.Namespace) -> Any:
    if not sys.stderr.isatty():
        return None
    return lambda done, name: print(f"\r\033[K{done}  {name}", end="", file=sys.stderr)


def _notes(report: ExchangeReport) -> None:
    for note in report.notes:
        print(f"segstudio: {note}", file=sys.stderr)


def _tell(arguments: argparse.Namespace, document: dict[str, Any], text: str) -> None:
    print(json.dumps(document) if arguments.json else text)
