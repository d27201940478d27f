"""Lists the networks of all plugins."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--family", metavar="NAME", help="only networks of this family")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> int:
    from segstudio.registry import Registry

    registry = Registry(arguments.plugin)
    specs = [spec for plugin in registry.plugins() for spec in plugin.models]
    if arguments.family:
        specs = [spec for spec in specs if spec.family.lower() == arguments.family.lower()]
    for problem in registry.problems.values():
        print(f"segstudio: {problem}", file=sys.stderr)
    if arguments.json:
        document = {
            "models": [dataclasses.asdict(spec) for spec in specs],
            "problems": [problem.to_json() for problem in registry.problems.values()],
        }
        print(json.dumps(document, indent=2))
        return 0
    width = max((len(spec.id) for spec in specs), default=0)
    for spec in specs:
        note = f"  (unavailable: {spec.unavailable})" if spec.unavailable else ""
        print(f"{spec.id:<{width}}  {spec.year or '    '}  {spec.title}{note}")
    return 0
