"""Train a network in a run folder: start or resume one, make a new one, or work off a queue of them.

With --pretrain it learns from pictures alone, and what it leaves is what other trainings start from.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segstudio.core.errors import UserError
from segstudio.core.recipe import (
    OPTIMIZERS,
    PRECISIONS,
    PRETRAINING_BEGINS_WITH,
    SCHEDULES,
    Recipe,
    RunClass,
    check_given,
)
from segstudio.core.run_folder import RunFolder

if TYPE_CHECKING:
    from segstudio.plugin_api import ModelSpec, PretrainingSpec

# Recipe fields that have a flag of their own, with the type of the flag.
_NUMBERS: dict[str, type] = {
    "epochs": int,
    "batch": int,
    "accumulate": int,
    "steps_per_epoch": int,
    "lr": float,
    "weight_decay": float,
    "momentum": float,
    "power": float,
    "warmup_steps": int,
    "clip_norm": float,
    "ohem": float,
    "color": float,
    "seed": int,
    "threads": int,
    "workers": int,
    "validate_every": int,
    "previews": int,
    "checkpoint_seconds": float,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", type=Path, metavar="RUN_FOLDER", help="start or resume this run")
    parser.add_argument("--queue", type=Path, metavar="DIR", help="train every queued run in DIR")
    new = parser.add_argument_group("a new run")
    new.add_argument("--model", metavar="NAME")
    new.add_argument(
        "--pretrain", metavar="NAME", help="learn from --images without labels; see models --pretraining"
    )
    new.add_argument("--images", type=Path, metavar="DIR")
    new.add_argument(
        "--labels", type=Path, metavar="DIR", help="PNG files of class indices, named like images"
    )
    new.add_argument("--out", type=Path, metavar="RUN", help="the run folder to make")
    new.add_argument("--val-images", type=Path, metavar="DIR")
    new.add_argument("--val-labels", type=Path, metavar="DIR", help="default: the folder of --labels")
    new.add_argument(
        "--val-share", type=float, default=0.2, metavar="X", help="without --val-images: share held out"
    )
    new.add_argument("--taxonomy", metavar="T", help="a class list by name, or a JSON file")
    new.add_argument("--ignore", type=int, action="append", default=[], metavar="ID")
    new.add_argument("--title", default="")
    new.add_argument("--weights", default="", metavar="FILE", help="weights to start from")
    new.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="an option of the model"
    )
    new.add_argument("--crop", metavar="WxH", help="in pixels; default 512x512 or the images' own size")
    new.add_argument(
        "--scale",
        metavar="LOW-HIGH",
        help="random scaling; default 0.5-2.0 (--pretrain: share of the area, 0.2-1)",
    )
    new.add_argument("--no-flip", action="store_true")
    new.add_argument("--class-weights", choices=("none", "frequency"), default="none")
    new.add_argument("--optimizer", choices=OPTIMIZERS, help="default: sgd (--pretrain: adamw)")
    new.add_argument("--schedule", choices=SCHEDULES, help="default: poly (--pretrain: cosine)")
    new.add_argument("--precision", choices=PRECISIONS, default="32")
    new.add_argument("--device", default="auto", metavar="NAME")
    new.add_argument("--create-only", action="store_true", help="make the run, do not train yet")
    for name, kind in _NUMBERS.items():
        new.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="N")


def run(args: argparse.Namespace) -> int:
    _step_back()
    if args.queue is not None:
        from segstudio.training.program import work_off

        good, bad = work_off(args.queue)
        print(f"{good} trained, {bad} failed", file=sys.stderr)
        return 0 if not bad else (1 if good else 2)
    if args.model or args.pretrain:
        if args.run is not None or (args.model and args.pretrain):
            raise UserError("Give one of a run folder, --model and --pretrain")
        folder = _create(args) if args.model else _create_pretraining(args)
        if args.create_only:
            print(folder.path)
            return 0
    elif args.run is None:
        raise UserError(
            "Nothing to train", action="Give a run folder, or --model, --images, --labels and --out"
        )
    else:
        folder = RunFolder(args.run)
        if not folder.exists:
            raise UserError("There is no run", where=f"in {folder.path}")
    from segstudio.training.program import train

    print(f"{train(folder)}: {folder.path}", file=sys.stderr)
    return 0


def _step_back() -> None:
    """A run that a window started leaves the processor to the person who goes on working there."""
    nice = os.environ.get("SEGSTUDIO_NICE", "")
    if nice.isdigit() and hasattr(os, "nice"):
        os.nice(int(nice))


def _create(args: argparse.Namespace) -> RunFolder:
    from segstudio.core import new_run
    from segstudio.registry import Registry

    for name in ("images", "labels", "out"):
        if getattr(args, name) is None:
            raise UserError(f"A new run needs --{name}")
    _, spec = Registry(args.plugin).find(args.model)
    pairs = new_run.pairs_in_folders(args.images, args.labels, "train")
    if args.val_images is not None:
        pairs += new_run.pairs_in_folders(args.val_images, args.val_labels or args.labels, "val")
    else:
        pairs = new_run.split_pairs(pairs, args.val_share)
    recipe = Recipe(
        model=spec.id,
        classes=_classes(args, [pair.label for pair in pairs]),
        options=parse_options(spec, args.option),
        crop=_crop(args.crop, pairs[0].image),
        scale=_scale(args.scale) or (0.5, 2.0),
        class_weights=args.class_weights,
        optimizer=args.optimizer or "sgd",
        schedule=args.schedule or "poly",
        **_values(args),
    )

    def tell(fraction: float, text: str) -> None:
        if sys.stderr.isatty():
            print(
                f"\rcopying labels {100 * fraction:3.0f} %", end="" if fraction < 1 else "\n", file=sys.stderr
            )

    folder = new_run.create_from_pairs(args.out, recipe, pairs, ignored=args.ignore, tell=tell)
    return _with_command(folder)


def _create_pretraining(args: argparse.Namespace) -> RunFolder:
    from segstudio.core import new_run
    from segstudio.registry import Registry

    for name in ("images", "out"):
        if getattr(args, name) is None:
            raise UserError(f"A new run needs --{name}")
    if args.labels is not None:
        raise UserError("--pretrain learns from pictures alone", action="Leave --labels out.")
    _, spec = Registry(args.plugin).find_pretraining(args.pretrain)
    images, held_out = new_run.images_in_folder(args.images, 0 if args.val_images else args.val_share)
    if args.val_images is not None:
        held_out, _ = new_run.images_in_folder(args.val_images)
    options = parse_options(spec, args.option)
    check_given(spec, options)
    size = options.pop("image_size", None) or next(
        (option.default for option in spec.options if option.name == "image_size"), (224, 224)
    )
    assert isinstance(size, tuple)
    changes = {"lr": spec.rate, **_values(args)}
    if args.scale:
        changes["scale"] = _scale(args.scale)
    for name in ("optimizer", "schedule"):
        if getattr(args, name):
            changes[name] = getattr(args, name)
    recipe = Recipe(
        model=spec.id,
        classes=(),
        task="pretraining",
        options=options,
        crop=_size(args.crop) if args.crop else (size[-1], size[0]),
        **{**PRETRAINING_BEGINS_WITH, **changes},
    )
    return _with_command(new_run.create_for_pretraining(args.out, recipe, images, held_out))


def _values(args: argparse.Namespace) -> dict[str, Any]:
    """Fields of a recipe that every task has, as they were given."""
    numbers = {name: getattr(args, name) for name in _NUMBERS if getattr(args, name) is not None}
    return {
        "title": args.title,
        "weights": str(Path(args.weights).absolute()) if args.weights else "",
        "plugin_files": tuple(str(Path(file).absolute()) for file in args.plugin),
        "flip": not args.no_flip,
        "precision": args.precision,
        "device": args.device,
        **numbers,
    }


def _with_command(folder: RunFolder) -> RunFolder:
    command = "segstudio " + shlex.join(sys.argv[1:])
    (folder.path / "command.txt").write_text(command + "\n", encoding="utf-8")
    return folder


def _classes(args: argparse.Namespace, labels: Sequence[Path]) -> tuple[RunClass, ...]:
    """The classes of --taxonomy, else numbered ones up to the highest label value that is not ignored."""
    from segstudio.core import palette_png
    from segstudio.core.taxonomies import default_palette, load_taxonomy

    if args.taxonomy:
        return tuple(RunClass(entry.name, entry.color) for entry in load_taxonomy(args.taxonomy).classes)
    ignored = {255, *args.ignore}
    highest = 0
    for path in labels:
        array, _ = palette_png.read(path)
        present = [value for value in set(array[::2, ::2].ravel().tolist()) if value not in ignored]
        highest = max(highest, *present, 0)
    palette = default_palette(highest + 1)
    return tuple(RunClass(f"Class {index}", palette[index]) for index in range(highest + 1))


def parse_options(spec: ModelSpec | PretrainingSpec, words: Sequence[str]) -> dict[str, Any]:
    """`KEY=VALUE` words as the option types the model declares. Raises UserError naming the valid ones."""
    known = {option.name: option for option in spec.options}
    result: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        option = known.get(name.replace("-", "_"))
        if option is None or not equals:
            raise UserError(
                f"{spec.name} has no option {name!r}", action=f"It has {', '.join(known) or 'none'}."
            )
        try:
            value: Any = text
            if option.kind == "choice":
                value = next(choice for choice in option.choices if str(choice) == text)
            elif option.kind == "bool":
                value = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[
                    text.lower()
                ]
            elif option.kind == "ints":
                value = tuple(int(part) for part in text.replace("x", ",").split(","))
            elif option.kind == "weights":
                value = str(Path(text).absolute())
            elif option.kind in ("int", "float"):
                value = int(text) if option.kind == "int" else float(text)
        except (ValueError, KeyError, StopIteration) as error:
            wanted = ", ".join(map(str, option.choices)) or option.kind
            raise UserError(f"{name} is {text!r}, expected {wanted}") from error
        result[option.name] = value
    return result


def _crop(text: str | None, image: Path) -> tuple[int, int]:
    if text is None:
        from segstudio.core.images import read_header

        header = read_header(image)
        return min(512, -(-header.width // 32) * 32), min(512, -(-header.height // 32) * 32)
    return _size(text)


def _size(text: str) -> tuple[int, int]:
    try:
        width, _, height = text.lower().partition("x")
        return int(width), int(height or width)
    except ValueError as error:
        raise UserError(f"--crop is {text!r}, expected WxH such as 512x384") from error


def _scale(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, _, high = text.partition("-")
        return float(low), float(high or low)
    except ValueError as error:
        raise UserError(f"--scale is {text!r}, expected LOW-HIGH such as 0.5-2.0") from error
