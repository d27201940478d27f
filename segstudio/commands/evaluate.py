"""Compare predictions, or a network's own output, with label pictures: mean IoU, accuracy, confusion.

Pictures are paired by their path without suffix. Pixels whose label is ignored (255 always is) are left
out; nothing else is.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from segstudio.commands.model_arguments import (
    add_model_arguments,
    add_output_argument,
    add_precision_argument,
    add_scale_argument,
    model_ref,
)
from segstudio.commands.progress import ProgressBar
from segstudio.core.errors import UserError
from segstudio.core.evaluation import Evaluation, pair_by_stem, table_text
from segstudio.core.folder_scan import IMAGE_SUFFIXES
from segstudio.core.label_map import LabelArray
from segstudio.core.label_pictures import SUFFIXES, read_label_picture
from segstudio.core.taxonomies import load_taxonomy


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--predictions", type=Path, metavar="DIR", help="pictures of predicted class indices")
    add_model_arguments(parser)
    add_output_argument(parser)
    add_precision_argument(parser)
    add_scale_argument(parser)
    parser.add_argument("--model", metavar="NAME", help="a network, instead of --predictions")
    parser.add_argument("--images", type=Path, metavar="DIR", help="the images it is run on")
    parser.add_argument("--labels", type=Path, metavar="DIR", required=True, help="pictures of class indices")
    parser.add_argument(
        "--taxonomy", metavar="T", help="names of the classes: a known data set or a JSON file"
    )
    parser.add_argument(
        "--ignore",
        type=int,
        action="append",
        default=[],
        metavar="ID",
        help="a label value that does not count; may be given several times; 255 never counts",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> int:
    if (arguments.predictions is None) == (arguments.model is None):
        raise UserError("Give either --predictions or --model with --weights and --images")
    taxonomy = load_taxonomy(arguments.taxonomy) if arguments.taxonomy else None
    evaluation = Evaluation(taxonomy, frozenset(arguments.ignore))
    if arguments.predictions is not None:
        pairs, problems = pair_by_stem(arguments.labels, arguments.predictions, SUFFIXES)
        read_prediction = _read_picture
    else:
        if arguments.images is None:
            raise UserError("--model needs --images, the folder it is run on")
        pairs, problems = pair_by_stem(arguments.labels, arguments.images, IMAGE_SUFFIXES)
        read_prediction = _predictor(arguments, evaluation) if pairs else _read_picture
    evaluation.problems.extend(problems)
    bar = ProgressBar(len(pairs), "images")
    for number, (stem, label_path, other_path) in enumerate(pairs, 1):
        try:
            labels = read_label_picture(label_path)
            evaluation.add(stem, labels, read_prediction(other_path, labels))
        except UserError as error:
            evaluation.problems.append(error)
        bar.show(number, stem)
    bar.clear()
    for problem in evaluation.problems:
        print(f"segstudio: {problem}", file=sys.stderr)
    if not evaluation.images:
        raise UserError(
            "Nothing could be compared", where=f"with {arguments.labels}", action="See the lines above."
        )
    result = evaluation.result()
    print(json.dumps(result) if arguments.json else table_text(result))
    return 1 if evaluation.problems else 0


def _read_picture(path: Path, _labels: LabelArray) -> LabelArray:
    return read_label_picture(path)


def _predictor(
    arguments: argparse.Namespace, evaluation: Evaluation
) -> Callable[[Path, LabelArray], LabelArray]:
    """Loads the network once; a wrong name or file of weights ends the command, not every image."""
    from segstudio.core.images import read_rgb
    from segstudio.worker.engine import Engine

    engine = Engine(arguments.plugin, device=arguments.device, precision=arguments.precision)
    reference = model_ref(arguments)
    loaded = engine.load(reference)
    evaluation.names = {index: entry.name for index, entry in enumerate(loaded.classes)}
    for note in loaded.notes:
        print(f"segstudio: {note}", file=sys.stderr)

    def predict(path: Path, labels: LabelArray) -> LabelArray:
        first = reference.output not in loaded.agreements
        result = engine.predict(reference, read_rgb(path), confidence=False, labels=labels)
        if first and result.agreement is not None:
            print(f"segstudio: {result.agreement.sentence(result.precision)}", file=sys.stderr)
        return result.label_map

    return predict
