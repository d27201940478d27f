"""The arguments that name a network, its weights and how it runs: the same for several verbs."""

from __future__ import annotations

import argparse
import ast
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segstudio.core.errors import UserError
from segstudio.plugin_api import Preprocess

if TYPE_CHECKING:
    from segstudio.worker.model_ref import ModelRef

FINAL = "final"


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, metavar="NAME", help="a network's id or its last part")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="safetensors or torch file")
    parser.add_argument("--num-classes", type=int, metavar="N", help="where the file does not tell")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="of the network")
    parser.add_argument("--switch", action="append", default=[], metavar="NAME=VALUE", help="replace a part")
    parser.add_argument("--mean", type=float, nargs=3, metavar="X", help="subtracted from RGB, 0-255")
    parser.add_argument("--std", type=float, nargs=3, metavar="X", help="RGB is divided by it, 0-255")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")


def add_precision_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16", "float16"),
        default="float32",
        help="numbers of 16 bits, where the device multiplies them: tells how far that is float32's result",
    )


def add_output_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output",
        default=FINAL,
        metavar="NAME",
        help="which of the network's supervised outputs: final, or a side output such as auxiliary; "
        "`segstudio models --json` lists them",
    )


def add_scale_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        metavar="X",
        help="the network sees pictures at X times their size, from 0.1 to 4; masks keep the pictures' size",
    )


def model_ref(arguments: argparse.Namespace) -> ModelRef:
    """Raises UserError where the arguments do not fit together."""
    from segstudio.worker.model_ref import ModelRef

    if (arguments.mean is None) != (arguments.std is None):
        raise UserError("--mean and --std belong together", action="Give both or neither")
    preprocess = None
    if arguments.mean is not None:
        if min(arguments.std) <= 0:
            raise UserError("--std has to be positive")
        preprocess = Preprocess(tuple(arguments.mean), tuple(arguments.std))
    output = getattr(arguments, "output", FINAL)  # verbs that show no masks have no such choice
    return ModelRef(
        model=arguments.model,
        weights=arguments.weights,
        num_classes=arguments.num_classes,
        options=named_values(arguments.option, "--option"),
        switches=named_words(arguments.switch, "--switch"),
        preprocess=preprocess,
        output="" if output == FINAL else output,
        scale=getattr(arguments, "scale", 1.0),
    )


def named_values(words: list[str], flag: str) -> dict[str, Any]:
    """NAME=VALUE words as a dictionary. Numbers, true, false, none and tuples are read as such."""
    values: dict[str, Any] = {}
    plain = {"true": True, "false": False, "none": None}
    for name, text in named_words(words, flag).items():
        try:
            values[name] = plain[text.lower()] if text.lower() in plain else ast.literal_eval(text)
        except (ValueError, SyntaxError):
            values[name] = text
    return values


def named_words(words: list[str], flag: str) -> dict[str, str]:
    """NAME=VALUE words as a dictionary of words. Raises UserError for any other word."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise UserError(f"{flag} {word!r} is no NAME=VALUE")
        found[name] = text
    return found
