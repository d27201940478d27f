"""The operations of the worker that runs networks: what the window may ask of it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segstudio.core.errors import UserError
from segstudio.ipc import MappedArray
from segstudio.worker.control import Control
from segstudio.worker.dispatch import Operation

if TYPE_CHECKING:
    from segstudio.worker.engine import Engine
    from segstudio.worker.reconstruction import Reconstructor


def worker_operations(plugin_files: Sequence[Path]) -> Mapping[str, Operation]:
    """The operations by name, over one engine. torch is imported in the background, before it is needed."""
    worker = _Worker(plugin_files)
    threading.Thread(target=worker.warm_up, name="torch", daemon=True).start()
    return {
        "devices": worker.devices,
        "predict": worker.predict,
        "probe": worker.probe,
        "reconstruct": worker.reconstruct,
        "identify": worker.identify,
        "adopt": worker.adopt,
        "model_info": worker.model_info,
        "outputs": worker.outputs,
        "unload": worker.unload,
    }


class _Worker:
    def __init__(self, plugin_files: Sequence[Path]) -> None:
        self._plugin_files = plugin_files
        self._lock = threading.Lock()
        self._made: Engine | None = None
        self._reconstructor: Reconstructor | None = None
        self._decoded: tuple[tuple[str, int, int], NDArray[np.uint8]] | None = None

    def prepare(self) -> None:
        """Imports torch and makes the engine."""
        with self._lock:
            if self._made is None:
                try:
                    from segstudio.worker.engine import Engine
                except (ImportError, OSError) as error:
                    raise UserError(
                        "Networks cannot run here, because torch cannot be loaded",
                        action="Install torch again; `segstudio doctor` says more",
                        details=str(error),
                    ) from error
                self._made = Engine(self._plugin_files)

    def warm_up(self) -> None:
        """Does the work of `prepare` early; the request that needs it says what is wrong."""
        with contextlib.suppress(UserError):
            self.prepare()

    @property
    def _engine(self) -> Engine:
        self.prepare()
        assert self._made is not None
        return self._made

    def devices(self, arguments: dict[str, Any], control: Control) -> Mapping[str, Any]:
        """-> `devices`, the preferred one first: `id`, `title`, `memory`, `free`, `bfloat16`; for a processor
        that has it, `bfloat16_speed` against float32.
        """
        self.prepare()
        import torch

        from segstudio.worker import devices

        found = devices.describe()
        for entry in found:
            if entry["id"] == "cpu" and entry["bfloat16"]:
                entry["bfloat16_speed"] = devices.bfloat16_speed()
        return {"devices": found, "torch": str(torch.__version__)}

    def predict(self, arguments: dict[str, Any], control: Control) -> Mapping[str, Any]:
        """`model`, `image`, `labels`, `confidence`, `entropy`, `keep`, `key`, `device`, `precision`; `truth`
        (the picture's labels in the model's class numbers, -1 elsewhere) where a switched part may need it

        -> what it took, and how far a lower precision is from float32.
        """
        engine = self._engine
        from segstudio.worker.model_ref import ModelRef
        from segstudio.worker.resampling import Maps

        ref = ModelRef.from_json(arguments["model"])
        image = _rgb(arguments["image"])
        maps = Maps(
            MappedArray.attach(arguments["labels"]).array,
            _attached(arguments.get("confidence")),
            _attached(arguments.get("entropy")),
        )
        result = engine.predict(
            ref,
            image,
            maps=maps,
            device=str(arguments.get("device") or ""),
            precision=str(arguments.get("precision") or ""),
            keep=bool(arguments.get("keep", False)),
            key=str(arguments.get("key", "")),
            labels=_attached(arguments.get("truth")),
            cancel=control.cancelled,
            progress=control.progress,
        )
        loaded = engine.load(
            ref,
            device=str(arguments.get("device") or ""),
            precision=str(arguments.get("precision") or ""),
        )
        return {
            "ms": result.seconds * 1000,
            "forward_ms": result.forward_seconds * 1000,
            "first_of_size": result.first_of_size,
            "device": result.device,
            "tiles": result.tiles,
            "tile_size": list(result.tile_size),
            "classes": [{"name": entry.name, "color": list(entry.color)} for entry in result.classes],
            "parameters": result.parameters,
            "peak_bytes": result.peak_bytes,
            "flops": loaded.flops.get((*result.tile_size, ref.output)),
            "precision": result.precision,
            "agreement": result.agreement.to_json() if result.agreement is not None else None,
            "preprocess": result.preprocess_source,
            "not_as_trained": result.not_as_trained,
            "from_labels": result.from_labels,
            "notes": result.notes,
        }

    def probe(self, arguments: dict[str, Any], control: Control) -> Mapping[str, Any]:
        """`model`, `key`, `probe`, `query`, `options`, `out`, and `image` where the run may be gone.

        Writes the values as float32 into `out` -> shape and meaning, or `need` bytes where `out` is small.
        """
        engine = self._engine
        from segstudio.plugin_api import Query
        from segstudio.worker.model_ref import ModelRef

        asked = arguments["query"]
        query = Query(
            asked.get("kind", "pixel"),
            float(asked.get("y", 0)),
            float(asked.get("x", 0)),
            int(asked.get("index", 0)),
        )
        image = _rgb(arguments["image"]) if arguments.get("image") else None
        options = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in (arguments.get("options") or {}).items()
        }
        ref = ModelRef.from_json(arguments["model"])
        found, tile = engine.probe(
            ref,
            str(arguments["probe"]),
            query,
            options,
            image=image,
            key=str(arguments.get("key", "")),
            device=str(arguments.get("device") or ""),
        )
        out = MappedArray.attach(arguments["out"]).array.reshape(-1).view(np.uint8)
        if found.values.nbytes > out.size:
            return {"need": found.values.nbytes}
        flat = np.ascontiguousarray(found.values, np.float32).reshape(-1).view(np.uint8)
        out[: flat.size] = flat
        return {
            "shape": list(found.values.shape),
            "kind": found.kind,
            "stride": list(found.stride),
            "offset": list(found.offset),
            "labels": list(found.labels),
            "signed": found.signed,
            "rows_sum_to_one": found.rows_sum_to_one,
            "query_cell": list(found.query_cell) if found.query_cell is not None else None,
            "notes": list(found.notes),
            "extras": _plain(found.extras),
            "tile": [tile.y, tile.x, tile.y + tile.height, tile.x + tile.width] if tile is not None else None,
        }

    def reconstruct(self, arguments: dict[str, Any], control: Control) -> Mapping[str, Any]:
        """`model`, `image` (a path with `page`, or a descriptor), `hidden` or `ratio`, `masking`, `seed`,
        `out`

        -> names and meaning of the pictures in `out`, uint8 RGB (V, H, W, 3), or `need` bytes.
        """
        engine = self._engine
        from segstudio.worker.reconstruction import Mask, Reconstructor

        if self._reconstructor is None:
            self._reconstructor = Reconstructor(engine.registry)
        cells = arguments.get("hidden")
        ratio, masking = arguments.get("ratio"), arguments.get("masking")
        mask = Mask(
            None if cells is None else [(int(row), int(column)) for row, column in cells],
            None if ratio is None else float(ratio),
            None if masking is None else str(masking),
            int(arguments.get("seed", 0)),
        )
        made = self._reconstructor.reconstruct(
            arguments["model"],
            self._picture(arguments["image"], int(arguments.get("page", 0))),
            mask,
            device=str(arguments.get("device") or "auto"),
            control=control,
        )
        out = MappedArray.attach(arguments["out"]).array.reshape(-1).view(np.uint8)
        if made.pictures.nbytes > out.size:
            return {"need": made.pictures.nbytes}
        out[: made.pictures.nbytes] = made.pictures.reshape(-1)
        error = None
        if made.error is not None:
            error = [[value if np.isfinite(value) else None for value in row] for row in made.error.tolist()]
        return {
            "views": list(made.views),
            "shape": list(made.pictures.shape),
            "cell": made.cell,
            "hidden": None if made.hidden is None else [list(cell) for cell in made.hidden],
            "error": error,
            "mean_error": made.mean_error,
            "ms": made.milliseconds,
            "notes": list(made.notes),
        }

    def _picture(self, image: dict[str, Any] | str, page: int) -> NDArray[np.uint8]:
        """(H, W, 3) RGB; a file is kept decoded, for many questions about one picture follow each other."""
        if not isinstance(image, str):
            return _rgb(image)
        from segstudio.core.images import read_rgb

        try:
            stamp = Path(image).stat().st_mtime_ns
        except OSError as error:
            raise UserError("The picture is gone", where=f"({image})", details=str(error)) from error
        key = (image, page, stamp)
        if self._decoded is None or self._decoded[0] != key:
            self._decoded = (key, read_rgb(Path(image), page=page))
        return self._decoded[1]

    def identify(self, arguments: dict[str, Any], control: Control) -> Mapping[str, Any]:
        """`path` -> `found`: models that fit a file of weights, best first; and what the file holds."""
        engine = self._engine
        from segstudio.worker.identification import identify_file

        return identify_file(engine.registry, Path(arguments["path"]))

    def adopt(self, arguments: dict[str, Any], control: Control) -> Mapping[str, Any]:
        """`model`, `checkpoint`: tries a fetched file on its network and keeps a copy with its facts."""
        engine = self._engine
        from segstudio.worker.published_copies import adopt

        control.check()
        return adopt(engine.registry, str(arguments["model"]), str(arguments["checkpoint"]))

    def model_info(self, arguments: dict[str, Any], control: Control) -> Mapping[str, Any]:
        """`model` -> parameters, classes, device, preprocessing; with `width` and `height` also `flops`, and
        with `timed` `forward_ms` of a network that has run on that size before.
        """
        engine = self._engine
        from segstudio.worker.inference import padded_size
        from segstudio.worker.input_scale import scaled_size
        from segstudio.worker.loaded_models import count_flops
        from segstudio.worker.model_ref import ModelRef

        ref, device = ModelRef.from_json(arguments["model"]), str(arguments.get("device") or "")
        loaded = engine.load(ref, device=device)
        flops = seconds = None
        if loaded.is_torch and arguments.get("width") and arguments.get("height"):
            seen = scaled_size(int(arguments["height"]), int(arguments["width"]), ref.scale)
            size = padded_size(*seen, loaded.spec)
            flops = count_flops(loaded, *size, ref.output)
            control.check()
            if arguments.get("timed"):
                seconds = engine.forward_seconds(ref, size, device=device)
        return {
            "parameters": loaded.parameters,
            "num_classes": loaded.num_classes,
            "classes": [{"name": entry.name, "color": list(entry.color)} for entry in loaded.classes],
            "device": str(loaded.device),
            "flops": flops,
            "forward_ms": seconds * 1000 if seconds is not None else None,
            "preprocess": loaded.preprocess_source,
            "folded": loaded.fold.folded if loaded.fold is not None else 0,
            "notes": loaded.notes,
        }

    def outputs(self, arguments: dict[str, Any], control: Control) -> Mapping[str, Any]:
        """`model` -> `outputs`: the declared side outputs that the network has with these weights."""
        engine = self._engine
        from segstudio.worker.loaded_models import require_output
        from segstudio.worker.model_ref import ModelRef

        ref = replace(ModelRef.from_json(arguments["model"]), output="")
        loaded = engine.load(ref, device=str(arguments.get("device") or ""))
        found = []
        for output in loaded.spec.outputs:
            control.check()
            with contextlib.suppress(UserError):
                require_output(loaded, output)
                found.append(output)
        return {"outputs": found}

    def unload(self, arguments: dict[str, Any], control: Control) -> Mapping[str, Any]:
        """Forgets all models and what was kept for probes."""
        if self._made is not None:
            self._made.unload()
        if self._reconstructor is not None:
            self._reconstructor.clear()
        self._decoded = None
        return {}


def _rgb(descriptor: dict[str, Any]) -> NDArray[np.uint8]:
    """(H, W, 3) RGB as it is, or (H, W, 4) BGRA as RGB."""
    array = MappedArray.attach(descriptor).array
    if array.ndim == 3 and array.shape[2] == 4:
        converted: NDArray[np.uint8] = cv2.cvtColor(array, cv2.COLOR_BGRA2RGB)
        return converted
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise UserError(f"An image is (H, W, 3) or (H, W, 4) uint8, not {array.shape} {array.dtype}")
    return array


def _attached(descriptor: dict[str, Any] | None) -> NDArray[np.uint8] | None:
    return MappedArray.attach(descriptor).array if descriptor else None


def _plain(value: Any) -> Any:
    """A plugin's extras as JSON values."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value if isinstance(value, str | int | float | bool | None) else str(value)
