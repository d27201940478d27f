"""Lists the networks of all plugins, or their ways of training without labels."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segstudio.core.model_search import Listed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words",
        nargs="*",
        metavar="WORD",
        help="only what has all of these words: name, paper, author, backbone, data set, other names",
    )
    parser.add_argument("--family", metavar="NAME", help="only networks of this family, by any of its names")
    parser.add_argument(
        "--pretraining", action="store_true", help="ways of training without labels, for train --pretrain"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> int:
    from segstudio.registry import Registry

    registry = Registry(arguments.plugin)
    every: list[Listed] = []
    for plugin in registry.plugins():
        every += plugin.pretraining if arguments.pretraining else plugin.models
    specs = _chosen(every, arguments.words, arguments.family)
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
    if every and not specs:
        print(f"segstudio: {_nothing(every, arguments.words, arguments.family)}", file=sys.stderr)
        return 2
    width = max((len(spec.id) for spec in specs), default=0)
    for spec in specs:
        note = f"  (unavailable: {spec.unavailable})" if spec.unavailable else ""
        print(f"{spec.id:<{width}}  {spec.year or '    '}  {spec.title}{note}")
    return 0


def _chosen(every: Sequence[Listed], words: Sequence[str], family: str | None) -> list[Listed]:
    from segstudio.core.model_search import haystack_of, is_family, matches, words_of, words_of_checkpoint

    found = [spec for spec in every if not family or is_family(spec, family)]
    if not words:
        return found
    chosen = []
    for spec in found:
        known = words_of(spec)
        for checkpoint in getattr(spec, "checkpoints", ()):
            known += words_of_checkpoint(checkpoint)
        if matches(haystack_of(known), " ".join(words)):
            chosen.append(spec)
    return chosen


def _nothing(every: Sequence[Listed], words: Sequence[str], family: str | None) -> str:
    from segstudio.core.model_search import nearest, plain

    names: dict[str, str] = {}
    for spec in every:
        for name in (spec.system, getattr(spec, "family", ""), getattr(spec, "backbone", ""), spec.name):
            names.setdefault(plain(name), name)
        for alias in spec.search_aliases:
            names.setdefault(plain(alias), spec.system)
    query = " ".join([*words, *([family] if family else [])])
    guess = nearest(query, names)
    return f"Nothing here is called {query!r}." + (f" Did you mean {guess}?" if guess else "")
