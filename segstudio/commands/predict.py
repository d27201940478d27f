"""Segments images: writes <stem>.png, a palette PNG of class indices at the image's own size."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from segstudio.commands.model_arguments import (
    add_model_arguments,
    add_output_argument,
    add_precision_argument,
    add_scale_argument,
    model_ref,
)
from segstudio.commands.progress import ProgressBar
from segstudio.core.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_arguments(parser)
    add_output_argument(parser)
    add_precision_argument(parser)
    add_scale_argument(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the masks go")
    parser.add_argument("--confidence", action="store_true", help="also write <stem>.confidence.png")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "images", nargs="+", type=Path, metavar="IMAGE", help="image files, or folders of them"
    )


def run(arguments: argparse.Namespace) -> int:
    paths = _inputs(arguments.images)
    _refuse_clashes(paths, arguments.out)
    from segstudio.worker.engine import Engine

    ref = model_ref(arguments)
    engine = Engine(arguments.plugin, device=arguments.device, precision=arguments.precision)
    loaded = engine.load(ref)
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            "The folder for the masks cannot be made", where=f"at {arguments.out}", action=str(error)
        ) from error
    bar = ProgressBar(len(paths), "images")
    mean, std = loaded.preprocess.mean, loaded.preprocess.std
    bar.say(
        f"{loaded.spec.id} on {loaded.device}: {loaded.num_classes} classes, {loaded.parameters:,} parameters"
    )
    bar.say(f"preprocessing: mean {_triple(mean)}, std {_triple(std)} ({loaded.preprocess_source})")
    done: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for number, path in enumerate(paths):
        bar.show(number, path.name)
        try:
            done.append(_predict(engine, ref, path, number, arguments, bar))
        except UserError as error:
            failed.append({"image": str(path), "error": str(error)})
            bar.say(f"segstudio: {error}")
    bar.show(len(paths))
    bar.clear()
    if not done:
        raise UserError("No image could be segmented", action="See the lines above")
    if arguments.json:
        agreement = loaded.agreements.get(ref.output)
        document = {
            "model": loaded.spec.id,
            "weights": str(ref.weights) if ref.weights else None,
            "device": str(loaded.device),
            "precision": loaded.precision,
            "output": ref.output or "final",
            "scale": ref.scale,
            "agreement": agreement.to_json() if agreement is not None else None,
            "preprocess": {"mean": list(mean), "std": list(std), "source": loaded.preprocess_source},
            "classes": [{"name": entry.name, "color": list(entry.color)} for entry in loaded.classes],
            "results": done,
            "failed": failed,
        }
        print(json.dumps(document))
    return 1 if failed else 0


def _predict(
    engine: Any, ref: Any, path: Path, number: int, arguments: argparse.Namespace, bar: ProgressBar
) -> dict[str, Any]:
    from segstudio.core import palette_png
    from segstudio.core.images import read_rgb

    image = read_rgb(path)
    result = engine.predict(
        ref,
        image,
        confidence=arguments.confidence,
        progress=lambda share, text: bar.show(number + share, f"{path.name} {text}"),
    )
    target = arguments.out / f"{path.stem}.png"
    colors = [entry.color for entry in result.classes]
    try:
        palette_png.write(target, result.label_map, colors)
        if arguments.confidence:
            grey = [(level, level, level) for level in range(256)]
            palette_png.write(arguments.out / f"{path.stem}.confidence.png", result.confidence, grey)
    except OSError as error:
        raise UserError("The mask could not be written", where=f"to {target}", action=str(error)) from error
    for note in result.notes:
        bar.say(f"{path.name}: {note}")
    return {
        "image": str(path),
        "output": str(target),
        "width": image.shape[1],
        "height": image.shape[0],
        "ms": round(result.seconds * 1000, 2),
        "forward_ms": round(result.forward_seconds * 1000, 2),
        "tiles": result.tiles,
        "notes": result.notes,
    }


def _inputs(given: list[Path]) -> list[Path]:
    """Files as they are, folders as the images directly in them. Raises UserError where there are none."""
    from segstudio.core.images import IMAGE_SUFFIXES

    paths: list[Path] = []
    for path in given:
        if path.is_dir():
            found = sorted(p for p in path.iterdir() if p.is_file() and p.suffix.lower() in IMAGE_SUFFIXES)
            if not found:
                raise UserError("There is no image", where=f"in {path}")
            paths += found
        else:
            paths.append(path)
    return paths


def _refuse_clashes(paths: list[Path], out: Path) -> None:
    """Two inputs that would write one file, or an output over an input, end the run before it begins."""
    by_stem: dict[str, Path] = {}
    for path in paths:
        other = by_stem.setdefault(path.stem.casefold(), path)
        if other is not path:
            raise UserError(
                f"{other} and {path} would both be written to {path.stem}.png",
                action="Run them into two folders, or rename one",
            )
    inputs = {path.resolve() for path in paths}
    for path in paths:
        target = out / f"{path.stem}.png"
        if target.resolve() in inputs:
            raise UserError(
                f"The mask would overwrite the image {target}", action="Choose another folder with --out"
            )


def _triple(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)
