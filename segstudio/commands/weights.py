"""Looks into files of weights: which network they belong to, which tensors they hold."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    identify = verbs.add_parser("identify", help="which network a file belongs to")
    identify.add_argument("file", type=Path, metavar="FILE")
    identify.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> int:
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
        if not found:
            print("  no network of this program has these tensors")
    return 0 if found else 2
