"""What the GPU computes is what the CPU computes; what it takes is printed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from segstudio.plugin_api import Query
from segstudio.worker import devices
from segstudio.worker.engine import Engine
from segstudio.worker.model_ref import ModelRef
from tests.gpu.networks import (
    DRAWN,
    best_device,
    demo_checkpoints,
    drawn_weights,
    exactly,
    make_engine,
    picture,
    scores_of,
)

GPU = best_device()

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(GPU is None, reason="no CUDA or MPS device that this torch can use"),
]


@pytest.fixture(scope="module")
def weights_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(autouse=True)
def without_tf32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SEGSTUDIO_HOME", str(tmp_path / "home"))
    assert GPU is not None
    undo = exactly(GPU)
    yield
    undo()
    devices.empty_cache(GPU)


def gpu_engine(**arguments: object) -> Engine:
    return make_engine(str(GPU), **arguments)  # type: ignore[arg-type]


def references(folder: Path, *, spread: bool = True) -> list[ModelRef]:
    found = [drawn_weights(name, folder, spread=spread) for name in DRAWN]
    for path in demo_checkpoints():
        facts = (
            json.loads(path.with_suffix(".json").read_text()) if path.with_suffix(".json").exists() else {}
        )
        if facts.get("model"):
            found.append(ModelRef(facts["model"], weights=path))
    return found


def test_class_maps_equal_the_cpu_s(weights_folder: Path) -> None:
    image = picture(321, 417)
    problems = []
    for ref in references(weights_folder):
        cpu_engine, engine = make_engine("cpu"), gpu_engine()
        on_cpu = cpu_engine.predict(ref, image)
        on_gpu = engine.predict(ref, image)
        equal = float((on_cpu.label_map == on_gpu.label_map).mean())
        scores = torch.nn.functional.interpolate(
            scores_of(cpu_engine, ref, image)[None], image.shape[:2], mode="bilinear", align_corners=False
        )[0]
        top = scores.topk(2, dim=0).values
        close = ((top[0] - top[1]) <= 1e-3 * scores.std()).numpy()
        differ = on_cpu.label_map != on_gpu.label_map
        classes = len(np.unique(on_cpu.label_map))
        print(f"\n{ref.model}: {100 * equal:.4f} % of pixels equal, {classes} classes", end="")
        if equal < 0.9999 or (differ & ~close).any():
            problems.append(
                f"{ref.model}: {100 * equal:.4f} % equal, {int((differ & ~close).sum())} clear pixels differ"
            )
        assert classes >= 3
    assert problems == []


def test_half_precision_stays_near_by_scores(weights_folder: Path) -> None:
    image = picture(321, 417)
    problems = []
    for ref in references(weights_folder, spread=False):
        full, half = scores_of(gpu_engine(), ref, image), scores_of(gpu_engine(half=True), ref, image)
        difference = float((half - full).abs().max() / full.std())
        print(f"\n{ref.model}: half precision moves scores by at most {difference:.2e} std", end="")
        if not difference <= 3e-2:
            problems.append(f"{ref.model}: {difference:.2e} std")
    assert problems == []


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (64, 64), (769, 513)])
def test_any_size_runs(weights_folder: Path, size: tuple[int, int]) -> None:
    engine = gpu_engine()
    for name in ("ccnet_mobilenet-v2-d8", "segformer_mit-b0"):
        assert engine.predict(drawn_weights(name, weights_folder), picture(*size)).label_map.shape == size


def test_tiles_on_the_gpu_equal_tiles_on_the_cpu(weights_folder: Path) -> None:
    ref = drawn_weights("ccnet_mobilenet-v2-d8", weights_folder)
    image = picture(700, 900)
    budget = 120_000_000
    on_cpu = make_engine("cpu", memory=budget).predict(ref, image)
    on_gpu = gpu_engine(memory=budget).predict(ref, image)
    assert on_cpu.tiles > 1 and on_gpu.tiles > 1
    if on_cpu.tile_size == on_gpu.tile_size:
        assert (on_cpu.label_map == on_gpu.label_map).mean() >= 0.9999


@pytest.mark.skipif(GPU is None or GPU.type != "cuda", reason="only CUDA can be given less memory")
def test_memory_that_runs_out_leads_to_smaller_tiles_and_a_note(weights_folder: Path) -> None:
    assert GPU is not None
    ref = drawn_weights("danet_r50-d8", weights_folder)
    engine = gpu_engine()
    engine.load(ref)
    devices.empty_cache(GPU)
    total = torch.cuda.get_device_properties(GPU).total_memory
    share = (torch.cuda.memory_allocated(GPU) + 2 * 2**30) / total
    torch.cuda.set_per_process_memory_fraction(share, GPU)
    try:
        result = engine.predict(ref, picture(1536, 1536))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, GPU)
    print(f"\nin 2 GB: {result.tiles} tiles of {result.tile_size}, {result.notes}", end="")
    assert result.tiles > 1
    assert any("memory" in note for note in result.notes)


def test_probes_answer_alike_on_both(weights_folder: Path) -> None:
    image = picture(193, 257)
    for name in ("ccnet_r50-d8", "danet_r50-d8", "psanet_r50-d8"):
        ref = drawn_weights(name, weights_folder)
        cpu_engine, engine = make_engine("cpu"), gpu_engine()
        for spec in engine.load(ref).spec.probes:
            options = {option.name: option.default for option in spec.options}
            query = Query(spec.query, 100.0, 130.0, 0)
            on_cpu, _ = cpu_engine.probe(ref, spec.id, query, options, image=image, key="1")
            on_gpu, _ = engine.probe(ref, spec.id, query, options, image=image, key="1")
            assert on_cpu.values.shape == on_gpu.values.shape
            scale = max(float(np.abs(on_cpu.values).max()), 1e-12)
            difference = float(np.abs(on_cpu.values - on_gpu.values).max()) / scale
            print(f"\n{name} {spec.id}: {difference:.1e} of its largest value", end="")
            assert difference < 1e-2


def test_memory_and_time_are_told(weights_folder: Path) -> None:
    assert GPU is not None
    image = picture(1024, 2048)
    rows = []
    for ref in references(weights_folder):
        for half in (False, True):
            engine = gpu_engine(half=half)
            engine.predict(ref, image)
            if GPU.type == "cuda":
                torch.cuda.reset_peak_memory_stats(GPU)
            started = time.perf_counter()
            result = engine.predict(ref, image)
            seconds = time.perf_counter() - started
            rows.append((ref.model, half, result.forward_seconds, seconds, result.peak_bytes))
            assert result.label_map.shape == (1024, 2048)
            engine.unload()
            devices.empty_cache(GPU)
    print(f"\n\n{torch.cuda.get_device_name(GPU) if GPU.type == 'cuda' else GPU}, 2048 x 1024 pixels")
    for model, half, forward, seconds, peak in rows:
        precision = "half" if half else "full"
        print(
            f"{model:<45} {precision}  {forward * 1000:8.1f} ms network  {seconds * 1000:8.1f} ms all", end=""
        )
        print(f"  {peak / 2**20:8.0f} MB")
