"""MobileNetV3's squeeze-excite gates: one number a channel and layer, arXiv 1905.02244, section 5.3."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from segstudio.plugin_api import ProbeMap, Query
from segstudio_zoo.backbones.mobilenet_v3 import SqueezeExcite


@dataclass
class CapturedGates:
    """`gates`: (C,) float32 by layer name, in the order of the network."""

    gates: dict[str, Tensor] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        return sum(gate.numel() * gate.element_size() for gate in self.gates.values())


class GateProbe:
    """The gates of one layer, in the order of its channels."""

    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[CapturedGates]:
        """While open, a run of `model` fills what is returned."""
        captured = CapturedGates()
        handles = []
        for name, module in model.named_modules():
            if isinstance(module, SqueezeExcite):
                layer = name.removesuffix(".se").rpartition(".")[2]

                def keep(_: nn.Module, __: Any, out: Tensor, layer: str = layer) -> None:
                    captured.gates[layer] = out[0].detach().float().flatten()

                handles.append(module.conv2.register_forward_hook(keep))
        try:
            yield captured
        finally:
            for handle in handles:
                handle.remove()

    def map(self, captured: CapturedGates, query: Query, *, layer: int = 0) -> ProbeMap:
        """`layer` is the number in the network; 0 = the last that has gates."""
        if not captured.gates:
            raise ValueError("Nothing is kept: the model did not run, or its layers have no gates.")
        name = f"layer{layer}" if layer else list(captured.gates)[-1]
        if name not in captured.gates:
            known = ", ".join(key.removeprefix("layer") for key in captured.gates)
            raise ValueError(f"Layer {layer} has no gates; layers {known} have.")
        gate = captured.gates[name]
        return ProbeMap(
            gate.cpu().numpy(),
            kind="vector",
            labels=tuple(f"channel {index}" for index in range(len(gate))),
            extras={"layer": name},
        )


def gates() -> GateProbe:
    return GateProbe()
