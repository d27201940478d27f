"""Picture in, label map out: every segmentor through the engine against the same network run plainly.

Plainly: eager, contiguous, batch norms unfolded, logits of all classes resized to the picture, arg max. One
listed network a family, on the processor; beside it the engine in bfloat16 where the processor has it. The
plain network runs with the C library's usual memory. Each network has a process of its own, for the memory
that a large one leaves behind makes the next one's plain run faster.

All run the same drawn weights. Batch norms take their statistics from the picture, and parameters that begin
as one constant (layer scales, gates at zero) are drawn too, so that no part of a network is silent. So the
distance of the scores means something; masks mean nothing, and the share of equal pixels is that of a network
that knows nothing and is seldom sure.

SEGSTUDIO_BENCH_NETWORKS="ccnet_r50-d8 bisenetv2" measures the named ones, SEGSTUDIO_BENCH_SIZE="256x512" at
another size than 512x1024, SEGSTUDIO_BENCH_PRECISIONS="float32" without bfloat16.
SEGSTUDIO_BENCH_CLOCK="processor" counts the processor time of one thread, which other programs disturb less
than the time on the wall.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from segstudio.plugin_api import ModelSpec
from segstudio.worker import devices, kept_heap
from segstudio.worker.engine import Engine
from segstudio.worker.model_ref import ModelRef
from tests.benchmarks.timing import in_turn

_CLASSES = 19
_REPEATS = 7
_MEMORY = 64 * 2**30


def measure() -> dict[str, Any]:
    height, width = (int(side) for side in os.environ.get("SEGSTUDIO_BENCH_SIZE", "512x1024").split("x"))
    named = os.environ.get("SEGSTUDIO_BENCH_NETWORKS", "").split()
    one_thread = os.environ.get("SEGSTUDIO_BENCH_CLOCK", "wall") == "processor"
    before = torch.get_num_threads()
    if one_thread:
        torch.set_num_threads(1)
    results: dict[str, Any] = {
        "size": f"{height}x{width}",
        "threads": torch.get_num_threads(),
        "clock": "processor" if one_thread else "wall",
    }
    specs = _specs(named)
    try:
        for spec in specs:
            if len(specs) > 1:
                results[spec.name] = _in_own_process(spec)
            else:
                results[spec.name] = _measure(spec, _picture(height, width), processor_time=one_thread)
                print(f"  {spec.name}: {results[spec.name]}", file=sys.stderr, flush=True)
    finally:
        torch.set_num_threads(before)
    return results


def _in_own_process(spec: ModelSpec) -> dict[str, Any]:
    run = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", "networks"],
        env={**os.environ, "SEGSTUDIO_BENCH_NETWORKS": spec.id},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(run.stdout)["results"]["bench_networks"][spec.name]
    return found


def _specs(named: list[str]) -> list[ModelSpec]:
    """The named models, or the first listed one of every trainable family."""
    models = [spec for plugin in Engine().registry.plugins() for spec in plugin.models]
    listed = [spec for spec in models if spec.trainable and not spec.unavailable]
    if named:
        return [spec for spec in listed if spec.name in named or spec.id in named]
    first: dict[str, ModelSpec] = {}
    for spec in listed:
        first.setdefault(spec.family, spec)
    return list(first.values())


def _picture(height: int, width: int) -> NDArray[np.uint8]:
    """(H, W, 3): large smooth patches and some noise."""
    draw = np.random.default_rng(0)
    coarse = draw.integers(0, 256, (height // 64 + 1, width // 64 + 1, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    noisy: NDArray[np.uint8] = np.clip(smooth + draw.normal(0, 20, smooth.shape), 0, 255).astype(np.uint8)
    return noisy


def _measure(spec: ModelSpec, image: NDArray[np.uint8], *, processor_time: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, "weights.safetensors")
        _draw_weights(spec, image, weights)
        ref = ModelRef(spec.id, weights=weights, num_classes=_CLASSES)
        return _compare(spec, ref, image, processor_time=processor_time)


def _compare(
    spec: ModelSpec, ref: ModelRef, image: NDArray[np.uint8], *, processor_time: bool
) -> dict[str, Any]:
    plain_model = Engine(optimise=False, device="cpu").load(ref).model
    normalise = _normaliser(spec)

    def plain() -> NDArray[np.uint8]:
        with torch.no_grad():
            logits = plain_model(normalise(image))
            labels: NDArray[np.uint8] = logits.argmax(1)[0].to(torch.uint8).numpy()
            return labels

    # Of a size that no picture here needs: what else runs on the computer must not lead to tiles.
    engines = {"float32": Engine(device="cpu", memory=_MEMORY)}
    wanted = os.environ.get("SEGSTUDIO_BENCH_PRECISIONS", "float32 bfloat16").split()
    if "bfloat16" in wanted and devices.has_bfloat16(torch.device("cpu")):
        engines["bfloat16"] = Engine(device="cpu", memory=_MEMORY, precision="bfloat16")
    works: dict[str, Callable[[], NDArray[Any]]] = {"plain": plain}
    for name, engine in engines.items():
        works[name] = partial(_label_map, engine, ref, image)

    @contextmanager
    def with_usual_memory() -> Iterator[None]:
        with kept_heap.as_usual():
            yield
        for name in engines:  # what a run finds that follows another of its own
            works[name]()

    timing = in_turn(works, repeats=_REPEATS, processor_time=processor_time, around_first=with_usual_memory)

    with torch.no_grad():
        expected = plain_model.scores(normalise(image)).logits
    labels = plain()
    result: dict[str, Any] = {"plain_ms": timing["plain"]["ms"], "repeats": _REPEATS}
    for name, engine in engines.items():
        result[name] = {
            "ms": timing[name]["ms"],
            "plain_over_this": timing[name]["first_over_this"],
            "largest_gap_over_std": _gap(engine.scores(ref, image).logits, expected),
            "same_class": round(float((works[name]() == labels).mean()), 5),
        }
    loaded = engines["float32"].load(ref)
    if loaded.fold is not None and loaded.fusion is not None:
        result["norms_left"] = sum(isinstance(part, _BatchNorm) for part in loaded.model.modules())
        result["fused"], result["transformed"] = loaded.fusion.fused, loaded.fusion.transformed
    return result


def _label_map(engine: Engine, ref: ModelRef, image: NDArray[np.uint8]) -> NDArray[Any]:
    return engine.predict(ref, image, confidence=False).label_map


def _normaliser(spec: ModelSpec) -> Any:
    """(H, W, 3) uint8 -> (1, 3, H, W) contiguous; mean and deviation are on `Preprocess`'s scale, 0..255."""
    mean = torch.tensor(spec.preprocess.mean).view(1, 3, 1, 1)
    std = torch.tensor(spec.preprocess.std).view(1, 3, 1, 1)

    def normalise(image: NDArray[np.uint8]) -> Tensor:
        return (torch.from_numpy(image).permute(2, 0, 1)[None].float().contiguous() - mean) / std

    return normalise


def _gap(scores: Tensor, expected: Tensor) -> float:
    """The largest difference of the scores, in shares of the deviation of those expected."""
    return float(f"{float((scores - expected).abs().max() / expected.std()):.2g}")


def _draw_weights(spec: ModelSpec, image: NDArray[np.uint8], path: Path) -> None:
    torch.manual_seed(0)
    model = (
        Engine(optimise=False, device="cpu")
        .load(ModelRef(spec.id, num_classes=_CLASSES, untrained=True))
        .model
    )
    with torch.no_grad():
        for parameter in model.parameters():
            first = parameter.flatten()[0]
            if bool((parameter == first).all()):
                if float(first) == 0.0:
                    parameter.normal_(0.0, 0.1)
                else:
                    parameter.uniform_(0.5, 1.5)
        with _statistics_taken(model):
            model.scores(_normaliser(spec)(image[:256, :512]))
    save_file({name: tensor.contiguous().clone() for name, tensor in model.state_dict().items()}, path)


@contextmanager
def _statistics_taken(model: nn.Module) -> Iterator[None]:
    """Inside, batch norms normalise by what they see, and keep it; everything else stays in evaluation."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None
        norm.reset_running_stats()
        # One value a channel has no deviation: such a norm keeps mean 0 and variance 1.
        norm.register_forward_pre_hook(
            lambda module, inputs: module.train(inputs[0].numel() > inputs[0].shape[1]) and None
        )
    yield
    for norm, momentum in zip(norms, momenta, strict=True):
        norm._forward_pre_hooks.clear()
        norm.momentum = momentum
        norm.eval()
