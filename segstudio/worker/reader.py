"""The operations of the reader, a worker without torch: it alone decodes files of unknown origin."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segstudio.core import images, metrics
from segstudio.ipc import MappedArray
from segstudio.plugin_api import Checkpoint
from segstudio.worker.control import Cancelled, Control
from segstudio.worker.dispatch import Operation
from segstudio.worker.reader_exports import deliver_export, stage_export
from segstudio.worker.reader_imports import import_labels


def header(arguments: dict[str, Any], control: Control) -> Mapping[str, Any]:
    """`path`, `page` -> the fields of ImageHeader."""
    found = images.read_header(Path(arguments["path"]), page=arguments.get("page", 0))
    return dataclasses.asdict(found)


def levels(arguments: dict[str, Any], control: Control) -> Mapping[str, Any]:
    """Fills `out` with the BGRA pyramid of `path` -> `width`, `height`, `sizes`, `range` (null for 8 bits).

    `range` [low, high] is what to show of deeper images; null chooses it.
    """
    path, page = Path(arguments["path"]), int(arguments.get("page", 0))
    out = MappedArray.attach(arguments["out"]).array.reshape(-1).view(np.uint8)
    asked = arguments.get("range")
    shown = images.DisplayRange(float(asked[0]), float(asked[1])) if asked is not None else None
    found = images.read_header(path, page)
    control.check()
    needed = images.levels_nbytes(found.width, found.height)
    used = images.fill_levels(path, out[:needed], page=page, shown=shown, progress=control.progress)
    return {
        "width": found.width,
        "height": found.height,
        "sizes": images.level_sizes(found.width, found.height),
        "range": [used.low, used.high] if used is not None else None,
    }


def reduced(arguments: dict[str, Any], control: Control) -> Mapping[str, Any]:
    """A quick view of `path` at 1 / `factor`, BGRA into `out` -> `width`, `height`."""
    page = int(arguments.get("page", 0))
    picture = images.read_reduced(Path(arguments["path"]), int(arguments["factor"]), page=page)
    return _copy_into(picture, arguments["out"])


def thumbnail(arguments: dict[str, Any], control: Control) -> Mapping[str, Any]:
    """`path` with its longer side at most `size`, BGRA into `out` -> `width`, `height`."""
    page = int(arguments.get("page", 0))
    picture = images.read_thumbnail(Path(arguments["path"]), int(arguments["size"]), page=page)
    return _copy_into(picture, arguments["out"])


def rgb(arguments: dict[str, Any], control: Control) -> Mapping[str, Any]:
    """What a network sees of `path` (RGB, uint8) into `out` -> `width`, `height`."""
    view = _network_view(arguments.get("view"))
    picture = images.read_rgb(Path(arguments["path"]), page=int(arguments.get("page", 0)), view=view)
    return _copy_into(picture, arguments["out"])


def confusion(arguments: dict[str, Any], control: Control) -> Mapping[str, Any]:
    """Counts of `truth` (rows) against `prediction` (columns) -> `confusion`, K lists of K + 1 counts.

    The last column holds the pixels predicted as none of the classes: they are missed, too.
    """
    truth = MappedArray.attach(arguments["truth"]).array
    prediction = MappedArray.attach(arguments["prediction"]).array
    size, ignore = int(arguments["num_classes"]), int(arguments.get("ignore", 255))
    counts = metrics.confusion(truth, prediction, size, ignore, other=True)
    return {"confusion": counts.tolist()}


def fetch(arguments: dict[str, Any], control: Control) -> Mapping[str, Any]:
    """`checkpoint` {id, url, sha256, bytes}: fetches it over https at a person's wish -> `path`.

    The words of its progress are two numbers: bytes here, bytes in all (0 where nobody knows).
    """
    from segstudio.worker.downloads import DownloadCancelled, fetch

    fields = {name: arguments["checkpoint"].get(name) for name in ("id", "url", "sha256", "bytes")}
    checkpoint = Checkpoint(**{name: value for name, value in fields.items() if value is not None})

    def tell(done: int, total: int | None) -> None:
        if not control.cancelled():  # the download stops at its next block, with all before it kept
            control.progress(done / total if total else 0.0, f"{done} {total or 0}")

    try:
        return {"path": str(fetch(checkpoint, progress=tell, cancel=control.cancelled))}
    except DownloadCancelled as error:
        raise Cancelled from error


OPERATIONS: Mapping[str, Operation] = {
    "header": header,
    "levels": levels,
    "reduced": reduced,
    "thumbnail": thumbnail,
    "rgb": rgb,
    "confusion": confusion,
    "fetch": fetch,
    "import_labels": import_labels,
    "stage_export": stage_export,
    "deliver_export": deliver_export,
}


def _network_view(document: dict[str, Any] | None) -> images.NetworkView | None:
    """The project's rule for what a network sees, from JSON."""
    if not document:
        return None
    fields = dict(document)
    if fields.get("channels") is not None:
        fields["channels"] = tuple(fields["channels"])
    return images.NetworkView(**fields)


def _copy_into(picture: NDArray[np.uint8], descriptor: dict[str, Any]) -> Mapping[str, Any]:
    out = MappedArray.attach(descriptor).array.reshape(-1).view(np.uint8)
    if picture.size > out.size:
        raise ValueError(f"a picture of {picture.size} bytes does not fit an array of {out.size} bytes")
    out[: picture.size] = picture.reshape(-1)
    return {"width": picture.shape[1], "height": picture.shape[0]}
