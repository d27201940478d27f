"""What the last runs left for probes: captured queries and keys, by image and tile."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from segstudio.core.errors import UserError
from segstudio.plugin_api import Probe, ProbeMap, ProbeSpec, Query
from segstudio.plugin_api.option_values import problem_of
from segstudio.registry import Registry, plugin_error
from segstudio.worker.inference import Network, cut, pad
from segstudio.worker.loaded_models import LoadedModel
from segstudio.worker.memory import available_bytes
from segstudio.worker.switch_values import chosen_values
from segstudio.worker.tiles import Tile, TilePlan

_MOST_RUNS = 16


@dataclass
class KeptRun:
    """One image as one model saw it. `captured` by tile: probe id -> (probe, what it kept)."""

    loaded: LoadedModel
    pixels: NDArray[np.uint8]
    plan: TilePlan
    switches: dict[str, Any]
    captured: OrderedDict[Tile, dict[str, tuple[Probe, Any]]] = field(default_factory=OrderedDict)

    @property
    def nbytes(self) -> int:
        return sum(int(kept.nbytes) for tile in self.captured.values() for _, kept in tile.values())


class KeptRuns:
    """The runs kept last, within a budget of memory."""

    def __init__(self, *, budget: int | None = None) -> None:
        self._budget = budget if budget is not None else max(2**28, available_bytes() // 8)
        self._runs: OrderedDict[str, KeptRun] = OrderedDict()

    def put(self, key: str, run: KeptRun) -> None:
        self._runs[key] = run
        self._runs.move_to_end(key)
        self.trim()

    def get(self, key: str) -> KeptRun | None:
        run = self._runs.get(key)
        if run is not None:
            self._runs.move_to_end(key)
        return run

    def trim(self) -> None:
        """Forgets the oldest; the newest run stays whatever it holds, but only its newest tile."""
        while len(self._runs) > 1 and (len(self._runs) > _MOST_RUNS or self._nbytes() > self._budget):
            self._runs.popitem(last=False)
        for run in self._runs.values():
            while len(run.captured) > 1 and self._nbytes() > self._budget:
                run.captured.popitem(last=False)

    def clear(self) -> None:
        self._runs.clear()

    def _nbytes(self) -> int:
        return sum(run.nbytes for run in self._runs.values())


@contextlib.contextmanager
def capturing(registry: Registry, loaded: LoadedModel) -> Iterator[dict[str, tuple[Probe, Any]]]:
    """While open, a run of the model fills what is given. Raises UserError where a probe cannot be built."""
    kept: dict[str, tuple[Probe, Any]] = {}
    with contextlib.ExitStack() as stack:
        for spec in loaded.spec.probes:
            build = registry.resolve(loaded.plugin, spec.build)
            try:
                probe = build()
                kept[spec.id] = (probe, stack.enter_context(probe.attach(loaded.model)))
            except Exception as error:
                raise plugin_error(
                    loaded.plugin.title, f"probe {spec.title} cannot look in", error
                ) from error
        yield kept


@contextlib.contextmanager
def switched(registry: Registry, loaded: LoadedModel, switches: dict[str, Any]) -> Iterator[bool]:
    """While open, the named parts are replaced. Gives whether the model is no longer as it was trained.

    Raises UserError for a switch or a value that the model does not have.
    """
    specs = {spec.id: spec for spec in loaded.spec.switches}
    changed = False
    with contextlib.ExitStack() as stack:
        for name, value in chosen_values(loaded, switches).items():
            apply = registry.resolve(loaded.plugin, specs[name].apply)
            try:
                stack.enter_context(apply(loaded.model, value))
            except ValueError as error:
                raise UserError(f"{loaded.spec.title}: switch {name}: {error}") from error
            except Exception as error:
                raise plugin_error(loaded.plugin.title, f"switch {name} cannot be set", error) from error
            changed = changed or value != specs[name].trained
        yield changed


def ask(
    registry: Registry,
    network: Network,
    run: KeptRun,
    spec: ProbeSpec,
    query: Query,
    options: dict[str, Any],
) -> tuple[ProbeMap, Tile | None]:
    """The probe's answer in pixels of the image, and the tile it is about (None: the whole image).

    Of a tiled image the tile is run again whose centre is nearest to the query. Raises UserError for a pixel
    outside the image and for an option or a value that the probe does not have.
    """
    _check_options(spec, options)
    height, width = run.pixels.shape[:2]
    if query.kind == "pixel" and not (0 <= query.y < height and 0 <= query.x < width):
        raise UserError(
            f"Pixel ({query.x:g}, {query.y:g}) lies outside the image of {width} x {height} pixels"
        )
    tile = run.plan.nearest(query.y, query.x)
    if tile not in run.captured:
        with switched(registry, run.loaded, run.switches), capturing(registry, run.loaded) as kept:
            whole = run.plan.is_whole
            network.scores(
                pad(run.pixels, (run.plan.height, run.plan.width)) if whole else cut(run.pixels, tile)
            )
        run.captured[tile] = kept
    run.captured.move_to_end(tile)
    probe, captured = run.captured[tile][spec.id]
    inside = Query(query.kind, query.y - tile.y, query.x - tile.x, query.index)
    try:
        with _one_thread():
            found = probe.map(captured, inside, **options)
    except ValueError as error:
        raise UserError(f"{spec.title}: {error}") from error
    except Exception as error:
        raise plugin_error(run.loaded.plugin.title, f"probe {spec.title} failed", error) from error
    return _shifted(found, tile), None if run.plan.is_whole else tile


def _check_options(spec: ProbeSpec, options: dict[str, Any]) -> None:
    declared = {option.name: option for option in spec.options}
    for name, value in options.items():
        if name not in declared:
            known = ", ".join(declared) or "none"
            raise UserError(f"{spec.title} has no option {name!r}", action=f"It has {known}")
        problem = problem_of(declared[name], value)
        if problem:
            raise UserError(f"{spec.title}: option {name!r} {problem}, not {value!r}")


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """A row is many small operations: on several threads each waits for the slowest, which on a busy
    computer took a hundred times as long as the work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _shifted(found: ProbeMap, tile: Tile) -> ProbeMap:
    """From pixels of the tile to pixels of the image."""
    values = np.asarray(found.values, dtype=np.float32)
    if found.kind == "regions" and values.size:
        values = values + np.array([tile.y, tile.x, tile.y, tile.x, 0], np.float32)
    elif found.kind == "points" and values.size:
        values = values + np.array([tile.y, tile.x, 0], np.float32)
    return ProbeMap(
        values=values,
        kind=found.kind,
        stride=found.stride,
        offset=(found.offset[0] + tile.y, found.offset[1] + tile.x),
        labels=found.labels,
        signed=found.signed,
        rows_sum_to_one=found.rows_sum_to_one,
        query_cell=found.query_cell,
        notes=found.notes,
        extras=found.extras,
    )
