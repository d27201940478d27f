"""Batch norms folded into the convolutions before them: the same function with a third of the memory traffic.

In evaluation mode a batch norm is y = gamma (x - mean) / sqrt(var + eps) + beta, a scale and a shift per
channel, which the convolution before it can do. Modules keep their names: only the values of a
convolution change, and its batch norm becomes an identity.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_TOLERANCE = 1e-4


@dataclass(frozen=True)
class FoldReport:
    """How many pairs were folded, and how far the scores moved, relative to their largest size."""

    folded: int
    kept: int
    difference: float
    reason: str = ""


def fold_batch_norms(model: nn.Module, example: Tensor) -> FoldReport:
    """Folds in place every batch norm that directly follows a convolution when `model` runs on `example`.

    The pairs are found by running, not by names; a module that applies its convolution in parts names the
    pair in `norm_pairs`, a tuple of two children's names each. Where the scores move by more than rounding,
    or the model does not run on the example, everything is put back as it was.
    """
    try:
        pairs, before = _find_pairs(model, example)
        found = {id(norm) for _, norm in pairs}
        pairs += [pair for pair in _declared_pairs(model) if id(pair[1]) not in found]
    except Exception as error:  # noqa: BLE001 - a plugin's network may raise anything on a small input
        return FoldReport(0, _count(model), 0.0, f"it does not run on the example: {error}")
    if not pairs:
        return FoldReport(0, _count(model), 0.0)
    kept = [(conv, conv.weight.data, conv.bias) for conv, _ in pairs]
    names = {id(module): name for name, module in model.named_modules()}
    for conv, norm in pairs:
        _fold(conv, norm)
        _replace(model, names[id(norm)], nn.Identity())
    with torch.no_grad():
        after = _scores(model, example)
    scale = max(float(before.abs().max()), 1e-6)
    difference = float((after - before).abs().max()) / scale
    if not difference <= _TOLERANCE:
        for (conv, weight, bias), (_, norm) in zip(kept, pairs, strict=True):
            conv.weight.data = weight
            conv.bias = bias
            _replace(model, names[id(norm)], norm)
        return FoldReport(0, _count(model), difference, "its scores would change")
    return FoldReport(len(pairs), _count(model), difference)


def _find_pairs(model: nn.Module, example: Tensor) -> tuple[list[tuple[nn.Module, _BatchNorm]], Tensor]:
    """Pairs (convolution, batch norm) where the norm always reads what that convolution just gave."""
    made_by: dict[int, nn.Module] = {}
    alive: list[Tensor] = []
    readers: dict[int, set[int]] = {}
    modules: dict[int, nn.Module] = {id(module): module for module in model.modules()}
    runs: Counter[int] = Counter()

    def after_conv(module: nn.Module, _inputs: Any, output: Tensor) -> None:
        made_by[id(output)] = module
        alive.append(output)  # keeps the id from being given to another tensor
        runs[id(module)] += 1

    def before_norm(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        conv = made_by.get(id(inputs[0]))
        readers.setdefault(id(module), set()).add(id(conv) if conv is not None else 0)
        runs[id(module)] += 1

    handles = []
    for module in model.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            handles.append(module.register_forward_hook(after_conv))
        elif _is_fixed_norm(module):
            handles.append(module.register_forward_pre_hook(before_norm))
    try:
        with torch.no_grad():
            scores = _scores(model, example)
    finally:
        for handle in handles:
            handle.remove()
    uses = Counter(conv for convs in readers.values() for conv in convs)
    pairs = []
    for norm_id, convs in readers.items():
        (conv_id, *others) = convs
        if others or conv_id == 0 or uses[conv_id] != 1 or runs[conv_id] != runs[norm_id]:
            continue
        norm = modules[norm_id]
        assert isinstance(norm, _BatchNorm)
        pairs.append((modules[conv_id], norm))
    return pairs, scores


def _declared_pairs(model: nn.Module) -> list[tuple[nn.Module, _BatchNorm]]:
    """What modules name in `norm_pairs`: convolutions that no run shows, because only slices of them run."""
    pairs = []
    for module in model.modules():
        for conv_name, norm_name in getattr(module, "norm_pairs", ()):
            conv, norm = module.get_submodule(conv_name), module.get_submodule(norm_name)
            if isinstance(norm, _BatchNorm) and _is_fixed_norm(norm):
                pairs.append((conv, norm))
    return pairs


def _is_fixed_norm(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm) and not module.training and module.running_mean is not None


def _count(model: nn.Module) -> int:
    return sum(isinstance(module, _BatchNorm) for module in model.modules())


def _scores(model: nn.Module, image: Tensor) -> Tensor:
    return model.scores(image).logits.detach().clone()


def _fold(conv: nn.Module, norm: _BatchNorm) -> None:
    """In double precision: rounding once is all that is lost."""
    assert norm.running_var is not None and norm.running_mean is not None
    weight = conv.weight
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.data.double()
    shift = -norm.running_mean.double() * scale
    if conv.bias is not None:
        shift = shift + conv.bias.data.double() * scale
    if norm.bias is not None:
        shift = shift + norm.bias.data.double()
    shape = (-1, *(1 for _ in weight.shape[1:]))
    weight.data = (weight.data.double() * scale.reshape(shape)).to(weight.dtype)
    conv.bias = nn.Parameter(shift.to(weight.dtype), requires_grad=False)


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)
