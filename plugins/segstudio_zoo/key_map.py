"""State dicts of other publishers: which network they belong to, and how their keys translate.

A network file may give `KEY_MAPS`, small declarative tables; the network's own names are those of
published mmsegmentation 1.x state dicts and need none. A file may also give
`infer_options(shapes) -> dict`: the options (widths, head channels, num_classes, ...) that tensor shapes
tell; `shapes` has the network's own keys. A head that reads one of several features may take `widths=()` too,
the channels of the backbone's features, empty where they are not known. This module applies both.
"""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segstudio.plugin_api import LoadReport

if TYPE_CHECKING:
    from torch import Tensor, nn

    StateDict = Mapping[str, Tensor]

OWN_LAYOUT = "mmsegmentation"


class CheckpointError(ValueError):
    """A state dict does not fit a model. `report` says which keys; the model was not touched."""

    def __init__(self, message: str, report: LoadReport) -> None:
        super().__init__(message)
        self.report = report


@dataclass(frozen=True, slots=True)
class KeyMap:
    """How one layout's keys become this network's.

    `telltale`: regular expressions, each of which has to match some key completely. `rules`: ordered
    (regular expression, replacement) pairs, the first complete match decides; replacement None marks a
    recognised key of a part this network lacks. A key without a match is unexpected.
    `transform(state, model)` may then reshape, split or join tensors under the new names (the state may
    lie on torch's "meta" device). `options` are what `create_model` needs for this layout to mean the
    same function. `optional`: patterns of the network's keys that a model may lack (then unused).
    `inner`: a whole segmentor's map whose "backbone." keys go on through the backbone's own map of that
    layout. `identifies`: False where a file only brings weights to start from, not this network's function.
    """

    layout: str
    telltale: tuple[str, ...]
    rules: tuple[tuple[str, str | None], ...]
    options: dict[str, Any] = field(default_factory=dict)
    transform: Callable[[dict[str, Tensor], nn.Module], dict[str, Tensor]] | None = None
    optional: tuple[str, ...] = ()
    inner: str = ""
    identifies: bool = True

    def fits(self, keys: Mapping[str, Any]) -> bool:
        return all(any(re.fullmatch(pattern, key) for key in keys) for pattern in self.telltale)

    def rename(self, key: str) -> tuple[bool, str | None]:
        """(recognised, the network's key or None)."""
        if not self.telltale:  # the network's own names
            return True, key
        for pattern, replacement in self.rules:
            match = re.fullmatch(pattern, key)
            if match:
                return True, None if replacement is None else match.expand(replacement)
        return False, None


OWN = KeyMap(layout=OWN_LAYOUT, telltale=(), rules=())

CLASSIFIER_KEYS = r"(fc|classifier|head|head\.fc|backbone\.fc|img_metas)(\.\d+)?\.(weight|bias)"
"""Classification layers that a segmentation network or bare backbone lacks, in its own layout."""

TRUNK = "backbone."
HEADS = r"(decode_head|auxiliary_head|head|neck|data_preprocessor)\."
"""What stands beside the backbone in files of whole networks."""


@dataclass
class Plan:
    """What loading would do: `tensors` by model key, and the report."""

    tensors: dict[str, Tensor]
    report: LoadReport

    @property
    def problems(self) -> int:
        report = self.report
        return len(report.missing) + len(report.unexpected) + len(report.mismatched)


def unwrap(state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a checkpoint: out of `state_dict` or `model`, without a leading "module."."""
    from torch import Tensor

    content: Any = state_dict
    for _ in range(3):
        inner = next(
            (content[key] for key in ("state_dict", "model", "model_state_dict") if _is_nested(content, key)),
            None,
        )
        if inner is None:
            break
        content = inner
    tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    while tensors and all(key.startswith("module.") for key in tensors):
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    return tensors


def _is_nested(content: Any, key: str) -> bool:
    return isinstance(content, Mapping) and isinstance(content.get(key), Mapping)


def key_maps(file: str) -> tuple[KeyMap, ...]:
    """The tables of a network file named as "package.module"."""
    import importlib

    return tuple(getattr(importlib.import_module(file), "KEY_MAPS", ())) if file else ()


def through_backbone(key_map: KeyMap, backbone_file: str) -> KeyMap:
    """`key_map` with its `inner` backbone layout filled in from the backbone's file."""
    if not key_map.inner:
        return key_map
    inner = next((m for m in key_maps(backbone_file) if m.layout == key_map.inner), None)
    return key_map if inner is None else _Composed(key_map, inner)


class _Composed(KeyMap):
    """A segmentor's map followed by its backbone's on the "backbone." keys."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, outer: KeyMap, inner: KeyMap) -> None:
        super().__init__(
            outer.layout,
            outer.telltale,
            outer.rules,
            {**inner.options, **outer.options},
            optional=(*outer.optional, *(rf"backbone\.{pattern}" for pattern in inner.optional)),
        )
        object.__setattr__(self, "_outer", outer)
        object.__setattr__(self, "_inner", inner)
        object.__setattr__(self, "transform", self._transformed)

    def rename(self, key: str) -> tuple[bool, str | None]:
        recognised, target = self._outer.rename(key)
        if target is None or not target.startswith("backbone."):
            return recognised, target
        recognised, inside = self._inner.rename(target.removeprefix("backbone."))
        return recognised, None if inside is None else f"backbone.{inside}"

    def _transformed(self, state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        if self._inner.transform is not None:
            trunk = {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")}
            rest = {k: v for k, v in state.items() if not k.startswith("backbone.")}
            changed = self._inner.transform(trunk, model.backbone)
            state = {**{f"backbone.{k}": v for k, v in changed.items()}, **rest}
        return state if self._outer.transform is None else self._outer.transform(state, model)


def plan(model: nn.Module, state: StateDict, key_map: KeyMap) -> Plan:
    """How `state` (unwrapped) would load into `model` through `key_map`."""
    wanted = model.state_dict()
    tables = tables_of_any_size(model)
    integer = {key for key, value in wanted.items() if not value.is_floating_point()}
    renamed: dict[str, Tensor] = {}
    source: dict[str, str] = {}
    unexpected: list[str] = []
    unused: list[str] = []
    for key, value in state.items():
        recognised, target = key_map.rename(key)
        if not recognised:
            (unused if key.endswith("num_batches_tracked") else unexpected).append(key)
        elif target is None:
            unused.append(key)
        else:
            renamed[target] = value
            source[key] = target
    if key_map.transform is not None:
        # a transform meets tensors of other sizes where the model is another: the comparison names them
        with suppress(LookupError, RuntimeError, ValueError):
            renamed = key_map.transform(dict(renamed), model)

    tensors: dict[str, Tensor] = {}
    mismatched: list[str] = []
    loaded: list[str] = []
    for key, target in source.items():
        if target in wanted and target in renamed:
            if _fits(renamed[target], wanted[target], target in tables):
                tensors[target] = renamed[target]
                loaded.append(key)
            elif target in integer:
                unused.append(key)
            else:
                mismatched.append(key)
        elif target not in renamed:
            loaded.append(key)  # a transform joined or split it; its results are checked below
        elif _recognised_extra(target, wanted, key_map.optional):
            unused.append(key)
        else:
            unexpected.append(key)
    for target in set(renamed) - set(source.values()):  # what a transform made anew
        if target in wanted and _fits(renamed[target], wanted[target], target in tables):
            tensors[target] = renamed[target]
        else:
            mismatched.append(target)
    missed = {source[key] for key in mismatched if key in source}
    missing = tuple(key for key in wanted if key not in tensors and key not in integer and key not in missed)
    report = LoadReport(
        key_map.layout, tuple(loaded), missing, tuple(unexpected), tuple(mismatched), tuple(unused)
    )
    return Plan(tensors, report)


def tables_of_any_size(model: nn.Module) -> set[str]:
    """Keys of position and bias tables, which take the length that a checkpoint's have.

    A module names its own in `tables_of_any_size`; they are resized when the network runs on another grid.
    """
    return {
        f"{name}.{table}" if name else table
        for name, module in model.named_modules()
        for table in getattr(module, "tables_of_any_size", ())
    }


def _fits(value: Tensor, wanted: Tensor, any_size: bool) -> bool:
    """The same shape, or one that differs in a single axis for tables of any size."""
    if value.ndim != wanted.ndim or not any_size:
        return value.shape == wanted.shape
    return sum(a != b for a, b in zip(value.shape, wanted.shape, strict=True)) <= 1


def _recognised_extra(key: str, wanted: Mapping[str, Any], optional: tuple[str, ...]) -> bool:
    """Own-layout keys of parts a model may lack: counters, auxiliary heads, classification layers."""
    if any(re.fullmatch(pattern, key) for pattern in optional):
        return True
    if key.endswith(("num_batches_tracked", "relative_position_index")) or re.fullmatch(CLASSIFIER_KEYS, key):
        return True
    part = "auxiliary_head."
    return key.startswith(part) and not any(own.startswith(part) for own in wanted)


def best_plan(model: nn.Module, state: StateDict) -> Plan:
    """The plan with the fewest problems among this model's layouts.

    A segmentor also takes a state dict of its bare backbone (everything else is then missing), and a bare
    backbone one whose keys begin with "backbone." (heads are then unused).
    """
    files: tuple[str, str] = getattr(model, "network_files", ("", ""))
    fitting = [m for file in files for m in key_maps(file) if m.fits(state)]
    maps = [*(through_backbone(m, files[1]) for m in fitting), OWN]
    plans = [plan(model, state, key_map) for key_map in maps]
    if files[0] == "" and any(key.startswith(TRUNK) for key in state):
        plans.append(_plan_of_trunk(model, state))
    backbone = getattr(model, "backbone", None)
    if backbone is not None and min(p.problems for p in plans) > 0:
        for inner in [*(m for m in key_maps(files[1]) if m.fits(state)), OWN]:
            part = plan(backbone, state, inner)
            rest = tuple(
                key
                for key, value in model.state_dict().items()
                if not key.startswith("backbone.") and value.is_floating_point()
            )
            report = part.report._replace(
                missing=tuple(f"backbone.{key}" for key in part.report.missing) + rest
            )
            plans.append(Plan({f"backbone.{key}": value for key, value in part.tensors.items()}, report))
    return min(plans, key=lambda p: (p.problems, -len(p.report.loaded)))


def _plan_of_trunk(model: nn.Module, state: StateDict) -> Plan:
    """How the "backbone." keys of `state` would load into a bare backbone; the report names them in full."""
    inside = best_plan(model, {k.removeprefix(TRUNK): v for k, v in state.items() if k.startswith(TRUNK)})
    report = inside.report
    rest = [key for key in state if not key.startswith(TRUNK)]
    heads = tuple(key for key in rest if re.match(HEADS, key) or key.endswith("num_batches_tracked"))
    full = {
        kind: tuple(TRUNK + key for key in getattr(report, kind))
        for kind in ("loaded", "unexpected", "mismatched", "unused")
    }
    full["unexpected"] += tuple(key for key in rest if key not in heads)
    full["unused"] += heads
    return Plan(inside.tensors, report._replace(**full))


def read_checkpoint(path: Any) -> dict[str, Any]:
    """A file's content: safetensors, else `torch.load(weights_only=True)`. Nothing in it is executed.

    Where torch refuses objects that lie beside the tensors (histories, configurations), the tensors alone are
    read, by SegStudio's own reader. Raises ValueError with one sentence where that fails too.
    """
    import torch
    from safetensors.torch import load_file

    if str(path).endswith(".safetensors"):
        return dict(load_file(str(path)))
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, "copy.safetensors")
            # In a process of its own, as a plugin knows nothing of the program but its interface.
            command = [sys.executable, "-m", "segstudio", "weights", "convert", str(path), str(copy)]
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            if run.returncode or not copy.exists():
                raise ValueError(run.stderr.strip() or f"{path} cannot be read") from None
            return dict(load_file(str(copy)))
    return content if isinstance(content, dict) else {}


def load_checkpoint(model: nn.Module, path_or_state_dict: Any, *, strict: bool = True) -> LoadReport:
    """Copies a checkpoint's tensors into `model`, from whatever known layout they are in.

    The report's `loaded`, `unexpected`, `mismatched` and `unused` name the file's keys, `missing` the
    model's. Raises CheckpointError, the model untouched, where `strict` and anything is missing,
    unexpected or mismatched. `strict=False` loads what fits.
    """
    import torch

    content = (
        path_or_state_dict if isinstance(path_or_state_dict, Mapping) else read_checkpoint(path_or_state_dict)
    )
    state = unwrap(content)
    chosen = best_plan(model, state)
    report = chosen.report
    if strict and chosen.problems:
        raise CheckpointError(describe(report), report)
    own = model.state_dict(keep_vars=True)
    with torch.no_grad():
        for key, value in chosen.tensors.items():
            if own[key].shape == value.shape:
                own[key].copy_(value)
            else:
                own[key].data = value.detach().to(own[key], copy=True)
    return report


def describe(report: LoadReport) -> str:
    """One sentence about a report's problems, with the first key of each kind."""
    parts = []
    for keys, words in (
        (report.missing, "are missing"),
        (report.unexpected, "belong to no part of this network"),
        (report.mismatched, "have another shape"),
    ):
        if keys:
            parts.append(f"{len(keys)} keys {words} (first: {keys[0]})")
    loaded = len(report.loaded)
    return f"The checkpoint does not fit this network: {'; '.join(parts)}; {loaded} keys would fit."
