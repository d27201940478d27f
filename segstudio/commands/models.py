"""Lists the networks of all plugins, or their ways of training without labels."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segstudio.plugin_api import ModelSpec, PretrainingSpec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--family", metavar="NAME", help="only networks of this family")
    parser.add_argument(
        "--pretraining", action="store_true", help="ways of training without labels, for train --pretrain"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> int:
    from segstudio.registry import Registry

    registry = Registry(arguments.plugin)
    specs: list[ModelSpec | PretrainingSpec]
    if arguments.pretraining:
        specs = [spec for plugin in registry.plugins() for spec in plugin.pretraining]
    else:
        specs = [
            spec
            for plugin in registry.plugins()
            for spec in plugin.models
            if not arguments.family or spec.family.lower() == arguments.family.lower()
        ]
    for problem in registry.problems.values():
        print(f"segstudio: {problem}", file=sys.stderr)
    if arguments.json:
        kind = "pretraining" if arguments.pretraining else "models"
        document = {
            kind: [dataclasses.asdict(spec) for spec in specs],
            "problems": [problem.to_json() for problem in registry.problems.values()],
        }
        print(json.dumps(document, indent=2))
        return 0
    width = max((len(spec.id) for spec in specs), default=0)
    for spec in specs:
        note = f"  (unavailable: {spec.unavailable})" if spec.unavailable else ""
        print(f"{spec.id:<{width}}  {spec.year or '    '}  {spec.title}{note}")
    return 0
