"""What a network looked at from one pixel: one map of one probe, as numbers (.npy) or as a picture (.png)."""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segstudio.commands.model_arguments import add_model_arguments, model_ref, named_values
from segstudio.core import atomic_file
from segstudio.core.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_arguments(parser)
    parser.add_argument("--image", type=Path, required=True, metavar="FILE")
    parser.add_argument("--at", metavar="X,Y", help="the pixel, after EXIF rotation")
    parser.add_argument(
        "--index", type=int, default=0, metavar="N", help="the channel or class, where one is asked"
    )
    parser.add_argument("--probe", required=True, metavar="ID", help="what to look into")
    parser.add_argument(
        "--probe-option", action="append", default=[], metavar="NAME=VALUE", help="of the probe"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=".npy or .png")
    parser.add_argument("--json", action="store_true", help="print stride, offset and the like")


def run(arguments: argparse.Namespace) -> int:
    if arguments.out.suffix.lower() not in (".npy", ".png"):
        raise UserError(f"--out {arguments.out.name} is neither .npy nor .png")
    x, y = _pixel(arguments.at)
    from segstudio.core.images import read_rgb
    from segstudio.plugin_api import Query
    from segstudio.worker.engine import Engine, probe_spec

    engine = Engine(arguments.plugin, device=arguments.device)
    ref = model_ref(arguments)
    loaded = engine.load(ref)
    spec = probe_spec(loaded, arguments.probe)
    if spec.query == "pixel" and arguments.at is None:
        raise UserError(f"Probe {spec.id} asks about a pixel", action="Give --at X,Y")
    image = read_rgb(arguments.image)
    options = {option.name: option.default for option in spec.options}
    options.update(named_values(arguments.probe_option, "--probe-option"))
    found, tile = engine.probe(ref, spec.id, Query(spec.query, y, x, arguments.index), options, image=image)
    data = _npy(found.values) if arguments.out.suffix.lower() == ".npy" else _png(found, image.shape[:2])
    try:
        atomic_file.write_bytes(arguments.out, data)
    except OSError as error:
        raise UserError(
            "The map could not be written", where=f"to {arguments.out}", action=str(error)
        ) from error
    if arguments.json:
        document = {
            "model": loaded.spec.id,
            "probe": spec.id,
            "kind": found.kind,
            "shape": list(found.values.shape),
            "stride": list(found.stride),
            "offset": list(found.offset),
            "query_cell": list(found.query_cell) if found.query_cell is not None else None,
            "rows_sum_to_one": found.rows_sum_to_one,
            "tile": [tile.y, tile.x, tile.height, tile.width] if tile is not None else None,
            "notes": list(found.notes),
            "out": str(arguments.out),
        }
        print(json.dumps(document))
    return 0


def _pixel(text: str | None) -> tuple[float, float]:
    if text is None:
        return 0.0, 0.0
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UserError(f"--at {text!r} is no X,Y") from error
    return x, y


def _npy(values: NDArray[np.float32]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def _png(found: Any, size: tuple[int, ...]) -> bytes:
    """Every cell as the block of pixels it covers, brightest where the map is largest; unsmoothed."""
    import cv2

    values = found.values
    if values.ndim != 2 or found.kind in ("regions", "points"):
        raise UserError(f"A {found.kind} of {values.shape} is no picture", action="Write it as .npy")
    low, high = (float(values.min()), float(values.max())) if found.signed else (0.0, float(values.max()))
    grey = np.rint((values - low) * (255 / max(high - low, 1e-12))).clip(0, 255).astype(np.uint8)
    colored = cv2.applyColorMap(grey, cv2.COLORMAP_INFERNO)
    if found.kind == "map":
        height, width = size
        rows = np.floor((np.arange(height) - found.offset[0]) / found.stride[0]).astype(int)
        columns = np.floor((np.arange(width) - found.offset[1]) / found.stride[1]).astype(int)
        outside_rows = (rows < 0) | (rows >= values.shape[0])
        outside_columns = (columns < 0) | (columns >= values.shape[1])
        colored = colored[rows.clip(0, values.shape[0] - 1)][:, columns.clip(0, values.shape[1] - 1)]
        colored[outside_rows] = 128
        colored[:, outside_columns] = 128
    return bytes(cv2.imencode(".png", colored)[1])
