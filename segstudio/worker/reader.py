"""The operations of the reader, a worker without torch: it alone decodes files of unknown origin."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segstudio.core import images, metrics
from segstudio.ipc import MappedArray
from segstudio.worker.control import Control
from segstudio.worker.dispatch import Operation


def header(arguments: dict[str, Any], control: Control) -> Mapping[str, Any]:
    """`path`, `page` -> the fields of ImageHeader."""
    found = images.read_header(Path(arguments["path"]), page=arguments.get("page", 0))
    return dataclasses.asdict(found)


def levels(arguments: dict[str, Any], control: Control) -> Mapping[str, Any]:
    """Fills `out` with the BGRA pyramid of `path` -> `sizes`, a list of [width, height]."""
    out = MappedArray.attach(arguments["out"]).array.reshape(-1)
    options: dict[str, Any] = {"page": arguments.get("page", 0)}
    if arguments.get("range") is not None:
        low, high = arguments["range"]
        options["display"] = images.DisplayRange(low, high)
    control.check()
    width, height = images.fill_levels(Path(arguments["path"]), out, **options)
    return {"width": width, "height": height, "sizes": images.level_sizes(width, height)}


def reduced(arguments: dict[str, Any], control: Control) -> Mapping[str, Any]:
    """A quick view of `path` at 1 / `factor`, BGRA into `out` -> `width`, `height`."""
    picture = images.read_reduced(Path(arguments["path"]), int(arguments["factor"]))
    return _write_bgra(picture, arguments["out"])


def thumbnail(arguments: dict[str, Any], control: Control) -> Mapping[str, Any]:
    """`path` with its longer side at most `size`, BGRA into `out` -> `width`, `height`."""
    control.check()
    picture = images.read_thumbnail(Path(arguments["path"]), int(arguments["size"]))
    return _write_bgra(picture, arguments["out"])


def rgb(arguments: dict[str, Any], control: Control) -> Mapping[str, Any]:
    """What a network sees of `path` (RGB, uint8) into `out` -> `width`, `height`."""
    options: dict[str, Any] = {"page": arguments.get("page", 0)}
    if arguments.get("view") is not None:
        options["view"] = images.NetworkView(**arguments["view"])
    picture = images.read_rgb(Path(arguments["path"]), **options)
    out = MappedArray.attach(arguments["out"]).array.reshape(-1).view(np.uint8)
    _copy_into(picture, out)
    return {"width": picture.shape[1], "height": picture.shape[0]}


def confusion(arguments: dict[str, Any], control: Control) -> Mapping[str, Any]:
    """Counts of `truth` (rows) against `prediction` (columns) -> `confusion`, K lists of K counts."""
    truth = MappedArray.attach(arguments["truth"]).array
    prediction = MappedArray.attach(arguments["prediction"]).array
    counts = metrics.confusion(
        truth, prediction, int(arguments["num_classes"]), ignore=int(arguments.get("ignore", 255))
    )
    return {"confusion": counts.tolist()}


OPERATIONS: Mapping[str, Operation] = {
    "header": header,
    "levels": levels,
    "reduced": reduced,
    "thumbnail": thumbnail,
    "rgb": rgb,
    "confusion": confusion,
}


def _write_bgra(picture: NDArray[np.uint8], descriptor: dict[str, Any]) -> Mapping[str, Any]:
    out = MappedArray.attach(descriptor).array.reshape(-1).view(np.uint8)
    _copy_into(cv2.cvtColor(picture, cv2.COLOR_RGB2BGRA), out)
    return {"width": picture.shape[1], "height": picture.shape[0]}


def _copy_into(picture: NDArray[Any], out: NDArray[np.uint8]) -> None:
    if picture.size > out.size:
        raise ValueError(f"a picture of {picture.size} bytes does not fit an array of {out.size} bytes")
    out[: picture.size] = picture.reshape(-1)
