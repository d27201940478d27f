"""Convolutions that apply the activation behind them while their output is still in the cache.

A network of cheap convolutions spends a third of its time reading and writing maps only to set negative
values to zero. oneDNN, which torch brings along, does both in one pass. torch offers that through the
operator its own compiler emits; where the operator is absent, everything stays as it is.

Weights are kept in the order in which oneDNN reads them, which it would bring them into in every call: that
is up to a tenth of the time of networks with wide layers on small maps.

Wide 3x3 convolutions, which are bound by multiplications, take a quarter of them (see `winograd`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from segstudio.worker.interleaved_grids import join_grids, split_grids
from segstudio.worker.winograd import Winograd, transformed_bytes

_SMALL = 20480  # values of an input below which torch's own loop is faster than a call of oneDNN


_FAR = 8  # cells that a depthwise kernel reaches to one side, from which on it is slow


@dataclass(frozen=True)
class _Epilogue:
    """The operator's name for an activation, its numbers and its variant."""

    name: str = "none"
    numbers: tuple[float, ...] = ()
    algorithm: str | None = ""


class _FusedForward:
    """Stands in for `forward` of a convolution: the same values, and where it can, activated."""

    def __init__(
        self, conv: nn.Conv2d, epilogue: _Epilogue, winograd: Winograd | None, *, packs: bool
    ) -> None:
        self.conv = conv
        self.epilogue = epilogue
        self.winograd = winograd
        self.in_grids = _slow_depthwise(conv)
        self.packs = packs
        self._kept: tuple[tuple[object, ...], Tensor] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        conv, epilogue = self.conv, self.epilogue
        if not _plain_float(x) or x.numel() < _SMALL:
            return conv._conv_forward(x, conv.weight, conv.bias)
        if self.winograd is not None and x.dtype is torch.float32 and self.winograd.suits(x):
            if epilogue.name != "relu":
                return self.winograd(x)
            return _activated(self.winograd(x, least=0.0))
        rate, padding = conv.dilation, conv.padding
        if self.in_grids:
            size = (x.shape[2], x.shape[3])
            x = split_grids(x.permute(0, 2, 3, 1), rate[0]).permute(0, 3, 1, 2)
            padding, rate = (padding[0] // rate[0], padding[1] // rate[0]), (1, 1)
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x,
            self._packed(x, padding, rate),
            conv.bias,
            padding,
            conv.stride,
            rate,
            conv.groups,
            epilogue.name,
            epilogue.numbers,
            epilogue.algorithm,
        )
        if self.in_grids:
            out = join_grids(out.permute(0, 2, 3, 1), conv.dilation[0], size).permute(0, 3, 1, 2)
        return out if epilogue.name == "none" else _activated(out)

    def _packed(self, x: Tensor, padding: tuple[int, ...], rate: tuple[int, ...]) -> Tensor:
        """The weights in the order in which oneDNN reads them."""
        conv, weight = self.conv, self.conv.weight
        if not self.packs:
            return weight
        state = (weight.data_ptr(), weight._version, tuple(x.shape))
        if self._kept is None or self._kept[0] != state:
            packed = torch.ops.mkldnn._reorder_convolution_weight(
                weight.detach(), padding, conv.stride, rate, conv.groups, list(x.shape)
            )
            self._kept = (state, packed)
        return self._kept[1]

    def combined(self, x: Tensor, other: Tensor, operation: str, *, in_place: bool = False) -> Tensor | None:
        """The convolution of `x` "add" or "mul" `other`, in one pass; None where that cannot be.

        `in_place` writes it over `other`.
        """
        conv = self.conv
        suits = self.epilogue.name == "none" and self.winograd is None and not self.in_grids
        if not suits or not _plain_float(x) or x.numel() < _SMALL or other.dtype is not x.dtype:
            return None
        sides = zip(x.shape[2:], conv.kernel_size, conv.stride, conv.padding, conv.dilation, strict=True)
        size = [(side + 2 * pad - rate * (k - 1) - 1) // step + 1 for side, k, step, pad, rate in sides]
        if list(other.shape) != [x.shape[0], conv.out_channels, *size]:
            return None
        operator = torch.ops.mkldnn._convolution_pointwise
        maps = (x, other.contiguous(memory_format=torch.channels_last))
        if in_place:
            operator, maps = torch.ops.mkldnn._convolution_pointwise_, (maps[1], x)
        out: Tensor = operator.binary(
            *maps,
            self._packed(x, conv.padding, conv.dilation),
            conv.bias,
            conv.padding,
            conv.stride,
            conv.dilation,
            conv.groups,
            operation,
            1.0 if operation == "add" else None,
            None,
            [],
            None,
        )
        return out


def _activated(x: Tensor) -> Tensor:
    # The count of changes in place: a tensor changed since then has to be activated again.
    x.activated_at = x._version  # type: ignore[attr-defined]
    return x


class _ActivateOnce:
    """Stands in for `forward` of an activation: lets through what its convolution has activated."""

    def __init__(self, activation: nn.Module) -> None:
        self.activation = activation

    def __call__(self, x: Tensor) -> Tensor:
        if getattr(x, "activated_at", -1) == x._version:
            return x
        out: Tensor = type(self.activation).forward(self.activation, x)
        return out


@dataclass(frozen=True)
class FusionReport:
    """How many convolutions apply their activation, how many are transformed and the bytes that takes.

    `packed_bytes` are those of weights that are kept a second time, in the order in which they are read.
    """

    fused: int = 0
    transformed: int = 0
    nbytes: int = 0
    packed_bytes: int = 0


def fuse_activations(
    model: nn.Module, example: Tensor, *, budget: int = 2**30, tolerance: float = 5e-4
) -> FusionReport:
    """Lets every convolution of `model` that feeds an activation apply it, and transforms wide 3x3 ones as
    long as their transformed weights stay within `budget` bytes.

    Pairs are found by running the model, in evaluation mode on the CPU, on `example`. Only calls of
    float32 tensors on the CPU without gradients use it. Where the scores move by more than `tolerance` of
    their deviation, it goes without transforms; where they still do, or the operator is absent, the model
    is as it was.
    """
    if not hasattr(torch.ops.mkldnn, "_convolution_pointwise") or not torch.backends.mkldnn.is_available():
        return FusionReport()
    example = example.contiguous(memory_format=torch.channels_last)
    try:
        pairs, before = _find_pairs(model, example)
    except Exception:  # noqa: BLE001 - a plugin's network may raise anything on a small input
        return FusionReport()
    convs = [module for module in model.modules() if _fusable(module)]
    for conv in convs:
        epilogue = _epilogue(pairs[conv]) if conv in pairs else _Epilogue()
        nbytes = transformed_bytes(conv)
        fits = 0 < nbytes <= budget
        budget -= nbytes if fits else 0
        conv.__dict__["forward"] = _FusedForward(
            conv, epilogue, Winograd(conv) if fits else None, packs=False
        )
    packed_bytes = 0
    for conv in convs:
        stand_in = conv.__dict__["forward"]
        if stand_in.winograd is None and packed_bytes + conv.weight.nbytes <= budget:
            stand_in.packs = True
            packed_bytes += conv.weight.nbytes
    activations = set(pairs.values())
    for activation in activations:
        activation.__dict__["forward"] = _ActivateOnce(activation)
    wide = [conv for conv in convs if conv.__dict__["forward"].winograd is not None]
    if wide and _moved(model, example, before) <= tolerance:
        nbytes = sum(transformed_bytes(conv) for conv in wide)
        return FusionReport(len(pairs), len(wide), nbytes, packed_bytes)
    for conv in wide:
        conv.__dict__["forward"].winograd = None
    if _moved(model, example, before) <= tolerance:
        return FusionReport(len(pairs), packed_bytes=packed_bytes)
    for module in (*convs, *activations):
        del module.__dict__["forward"]
    return FusionReport()


def _moved(model: nn.Module, example: Tensor, before: Tensor) -> float:
    """How far the scores are from those `before`, at most, in shares of their deviation."""
    try:
        with torch.no_grad():
            after = model.scores(example).logits
    except RuntimeError:
        return float("inf")
    return float((after - before).abs().max()) / max(float(before.std()), 1e-6)


def _find_pairs(model: nn.Module, example: Tensor) -> tuple[dict[nn.Module, nn.Module], Tensor]:
    """Convolutions whose every output goes, unchanged, into one activation; and the scores."""
    made: dict[int, tuple[nn.Module, Tensor, int]] = {}  # holds the tensors, so that no id comes twice
    read: dict[nn.Module, nn.Module] = {}
    calls: dict[nn.Module, int] = {}
    reads: dict[nn.Module, int] = {}

    def after_conv(module: nn.Module, _inputs: Any, output: Tensor) -> None:
        made[id(output)] = (module, output, output._version)
        calls[module] = calls.get(module, 0) + 1

    def before_activation(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        conv, _, version = made.get(id(inputs[0]), (None, None, 0))
        if conv is not None and version == inputs[0]._version:
            other = read.setdefault(conv, module)
            reads[conv] = reads.get(conv, 0) + (1 if _epilogue(other) == _epilogue(module) else 0)

    handles = []
    for module in model.modules():
        if _fusable(module):
            handles.append(module.register_forward_hook(after_conv))
        elif _epilogue(module) is not None:
            handles.append(module.register_forward_pre_hook(before_activation))
    try:
        with torch.no_grad():
            scores = model.scores(example).logits.clone()
    finally:
        for handle in handles:
            handle.remove()
    return {conv: read[conv] for conv in read if reads[conv] == calls[conv]}, scores


def _fusable(module: nn.Module) -> bool:
    return (
        type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str)
    )


def _slow_depthwise(conv: nn.Conv2d) -> bool:
    """A dilated depthwise convolution that reaches far: oneDNN leaves its fast way (measured)."""
    rate, (height, width) = conv.dilation[0], conv.kernel_size
    reach = (rate * (height // 2), rate * (width // 2))
    return (
        conv.groups == conv.in_channels == conv.out_channels
        and conv.stride == (1, 1)
        and conv.dilation == (rate, rate)
        and rate > 1
        and height % 2 == width % 2 == 1
        and conv.padding == reach
        and max(reach) >= _FAR
    )


def _epilogue(module: nn.Module) -> _Epilogue | None:
    """How the operator spells an activation, or None where it has no name for it."""
    kind = type(module)
    if kind is nn.ReLU:
        return _Epilogue("relu")
    if kind is nn.ReLU6:
        return _Epilogue("hardtanh", (0.0, 6.0))
    if kind is nn.Hardswish:
        return _Epilogue("hardswish")
    if kind is nn.GELU:
        return _Epilogue("gelu", (), module.approximate)
    return None


def _plain_float(x: Tensor) -> bool:
    """Whether the operator takes it: a real tensor of the CPU, and nobody wants gradients."""
    return (
        type(x) is Tensor
        and x.dtype in (torch.float32, torch.bfloat16)
        and x.device.type == "cpu"
        and x.dim() == 4
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
    )
