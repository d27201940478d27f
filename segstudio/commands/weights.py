"""Looks into files of weights, converts them, lists and fetches published ones."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from segstudio.core.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    identify = verbs.add_parser("identify", help="which network a file belongs to")
    identify.add_argument("file", type=Path, metavar="FILE")
    identify.add_argument("--json", action="store_true", help="print one JSON document")
    convert = verbs.add_parser("convert", help="write a safetensors copy of a file's tensors")
    convert.add_argument("file", type=Path, metavar="FILE")
    convert.add_argument("copy", type=Path, metavar="COPY.safetensors")
    listing = verbs.add_parser("list", help="the published weights of a network, or of all")
    listing.add_argument("model", nargs="?", default="", metavar="NAME")
    listing.add_argument("--json", action="store_true", help="print one JSON document")
    fetch = verbs.add_parser("fetch", help="fetch published weights over https")
    fetch.add_argument("model", metavar="NAME")
    fetch.add_argument("checkpoint", metavar="ID")


def run(arguments: argparse.Namespace) -> int:
    if arguments.what == "identify":
        return _identify(arguments)
    if arguments.what == "convert":
        return _convert(arguments)
    return _list(arguments) if arguments.what == "list" else _fetch(arguments)


def _convert(arguments: argparse.Namespace) -> int:
    from segstudio.worker.checkpoints import read_weights, write_weights

    if arguments.copy.exists():
        raise UserError("There is a file already", where=f"at {arguments.copy}", action="Choose another name")
    found = read_weights(arguments.file)
    write_weights(arguments.copy, found.tensors, found.facts)
    for note in found.notes:
        print(note)
    print(f"{arguments.copy}: {len(found.tensors)} tensors, {found.values:,} values")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from segstudio.core.downloaded_weights import downloaded
    from segstudio.registry import Registry

    registry = Registry(arguments.plugin)
    if arguments.model:
        specs = [registry.find(arguments.model)[1]]
    else:
        specs = [spec for plugin in registry.plugins() for spec in plugin.models if spec.checkpoints]
    if arguments.json:
        found = [
            {"model": spec.id, **dataclasses.asdict(entry)} for spec in specs for entry in spec.checkpoints
        ]
        print(json.dumps(found, indent=2))
        return 0
    for spec in specs:
        for checkpoint in spec.checkpoints:
            here = "here   " if checkpoint.path or (checkpoint.url and downloaded(checkpoint)) else "on line"
            metrics = ", ".join(f"{name} {value:g}" for name, value in checkpoint.metrics)
            layout = "key layout checked" if checkpoint.layout_checked else "key layout not checked"
            name = f"{spec.name}  {checkpoint.id}" if not arguments.model else checkpoint.id
            trained = checkpoint.dataset or checkpoint.taxonomy
            print(f"{here}  {name}  {trained}  {metrics}  {layout}  licence: {checkpoint.licence}")
        if not spec.checkpoints:
            print(f"{spec.id} has no published weights that are known here")
    return 0


def _fetch(arguments: argparse.Namespace) -> int:
    from segstudio.commands.progress import ProgressBar
    from segstudio.registry import Registry
    from segstudio.worker.downloads import fetch

    registry = Registry(arguments.plugin)
    _, spec = registry.find(arguments.model)
    chosen = next((found for found in spec.checkpoints if found.id == arguments.checkpoint), None)
    if chosen is None:
        known = ", ".join(checkpoint.id for checkpoint in spec.checkpoints) or "none"
        raise UserError(
            f"{spec.id} has no weights named {arguments.checkpoint!r}", action=f"Known are {known}"
        )
    bar: ProgressBar | None = None

    def show(done: int, total: int | None) -> None:
        nonlocal bar
        if bar is None and total:
            bar = ProgressBar(total // 2**20, "MB")
        if bar is not None:
            bar.show(done / 2**20)

    path = fetch(chosen, progress=show)
    if bar is not None:
        bar.clear()
    from segstudio.worker.published_copies import adopt

    adopt(registry, spec.id, chosen.id)
    print(path)
    return 0


def _identify(arguments: argparse.Namespace) -> int:
    from segstudio.registry import Registry
    from segstudio.worker.identification import identify_file

    document = identify_file(Registry(arguments.plugin), arguments.file)
    found = document["found"]
    if arguments.json:
        print(json.dumps(document))
    else:
        summary = f"{document['tensor_count']} tensors, {document['values']:,} values, {document['format']}"
        print(f"{arguments.file.name}: {summary}")
        for note in document["notes"]:
            print(f"  {note}")
        for entry in found:
            options = ", ".join(f"{name}={value!r}" for name, value in entry["options"].items())
            print(f"  {entry['name']}  {entry['num_classes']} classes  {entry['layout']}  {options}".rstrip())
        pretraining = document["pretraining"]
        if pretraining:
            print(
                f"  pre-training weights of {pretraining['model']}: training can start from them (--weights)"
            )
        elif not found:
            print("  no network of this program has these tensors")
    return 0 if found or document["pretraining"] else 2
