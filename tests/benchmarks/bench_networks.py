"""Picture in, label map out: every segmentor through the engine against the same network run plainly.

Plainly: eager, contiguous, batch norms unfolded, logits of all classes resized to the picture, arg max.
Weights are drawn, so the figures say nothing about masks. One listed network per family, on the processor.

SEGSTUDIO_BENCH_NETWORKS="ccnet_r50-d8 bisenetv2" measures the named ones; SEGSTUDIO_BENCH_SIZE="256x512".
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from segstudio.plugin_api import ModelSpec
from segstudio.worker.engine import Engine
from segstudio.worker.model_ref import ModelRef
from tests.benchmarks.timing import alternating

_CLASSES = 19


def measure() -> dict[str, Any]:
    height, width = (int(side) for side in os.environ.get("SEGSTUDIO_BENCH_SIZE", "256x512").split("x"))
    named = os.environ.get("SEGSTUDIO_BENCH_NETWORKS", "").split()
    draw = np.random.default_rng(0)
    image = draw.integers(0, 256, (height, width, 3), dtype=np.uint8)
    results: dict[str, Any] = {"size": f"{height}x{width}", "threads": torch.get_num_threads()}
    for spec in _specs(named):
        print(f"  {spec.name}", file=sys.stderr, flush=True)
        results[spec.name] = _measure(spec, image)
    return results


def _specs(named: list[str]) -> list[ModelSpec]:
    """The named models, or the first listed one of every trainable family."""
    models = [spec for plugin in Engine().registry.plugins() for spec in plugin.models]
    listed = [spec for spec in models if spec.trainable and not spec.unavailable]
    if named:
        return [spec for spec in listed if spec.name in named]
    first: dict[str, ModelSpec] = {}
    for spec in listed:
        first.setdefault(spec.family, spec)
    return list(first.values())


def _measure(spec: ModelSpec, image: NDArray[np.uint8]) -> dict[str, Any]:
    ref = ModelRef(spec.id, num_classes=_CLASSES, untrained=True)
    plain_engine, engine = Engine(optimise=False, device="cpu"), Engine(device="cpu")
    plain = plain_engine.load(ref).model.eval()
    mean = torch.tensor(spec.preprocess.mean).view(1, 3, 1, 1)
    std = torch.tensor(spec.preprocess.std).view(1, 3, 1, 1)
    labels: dict[str, NDArray[Any]] = {}

    def baseline() -> None:
        with torch.no_grad():
            tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float().contiguous()
            logits = plain((tensor - mean) / std)
            labels["plain"] = logits.argmax(1)[0].to(torch.uint8).numpy()

    def product() -> None:
        labels["product"] = engine.predict(ref, image, confidence=False).label_map

    timing = alternating(baseline, product, repeats=7)
    timing["speedup"] = round(1 / timing["product_over_baseline"], 2)
    loaded = engine.load(ref)
    fusion = loaded.fusion
    return {
        **timing,
        "same_class": round(float((labels["plain"] == labels["product"]).mean()), 5),
        "folded": loaded.fold.folded if loaded.fold else 0,
        "fused": fusion.fused if fusion else 0,
        "transformed": fusion.transformed if fusion else 0,
    }
