"""Lower precision: a marked option that tells how far its outcome is float32's; memory kept between runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from pytestqt.qtbot import QtBot

from segstudio.cli import run
from segstudio.core.errors import UserError
from segstudio.ipc import MappedArray
from segstudio.runtime.worker_client import WorkerClient
from segstudio.worker import devices, kept_heap
from segstudio.worker.engine import Engine
from segstudio.worker.memory import resident_bytes
from segstudio.worker.model_ref import ModelRef
from segstudio.worker.precision import Agreement, dtype_of
from tests.worker.plugins_for_tests import TINY, write_plugin

CPU = torch.device("cpu")
needs_bfloat16 = pytest.mark.skipif(
    not devices.has_bfloat16(CPU), reason="this processor does not multiply bfloat16"
)


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.setenv("SEGSTUDIO_HOME", str(tmp_path / "home"))
    return [write_plugin(tmp_path, "tiny", TINY)]


def picture(height: int = 90, width: int = 130) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@needs_bfloat16
def test_a_lower_precision_says_how_far_it_is_from_float32(plugins: list[Path]) -> None:
    engine, ref, image = Engine(plugins, device="cpu"), ModelRef("tiny/plain"), picture()
    exact = engine.predict(ref, image)
    found = engine.predict(ref, image, precision="bfloat16")
    assert (exact.precision, exact.agreement) == ("float32", None)
    assert found.precision == "bfloat16" and found.agreement is not None
    # The picture is smaller than the crop: the figures are those of all of it.
    assert found.agreement.crop == image.shape[:2]
    same = float((found.label_map == exact.label_map).mean())
    assert found.agreement.same_pixels == pytest.approx(same, abs=2e-3)
    scores = [engine.scores(ref, image, precision=kind).logits for kind in ("bfloat16", "float32")]
    gap = float((scores[0] - scores[1]).abs().max() / scores[1].std())
    assert 0 < gap < 0.1
    assert found.agreement.largest_gap == pytest.approx(gap, rel=1e-3)
    assert any("bfloat16" in note for note in found.notes) and not exact.notes
    assert engine.load(ref, precision="bfloat16").model.stem.conv.weight.dtype is torch.bfloat16


@needs_bfloat16
def test_the_figure_is_taken_from_the_middle_of_a_large_picture(plugins: list[Path]) -> None:
    engine = Engine(plugins, device="cpu", precision="bfloat16")
    found = engine.predict(ModelRef("tiny/plain"), picture(600, 700))
    assert found.agreement is not None and found.agreement.crop == (512, 512)


def test_a_precision_that_is_not_there_is_one_sentence(plugins: list[Path]) -> None:
    with pytest.raises(UserError, match="float16"):
        Engine(plugins, device="cpu").predict(ModelRef("tiny/plain"), picture(), precision="float16")
    with pytest.raises(UserError, match="no precision 'int3'"):
        dtype_of("int3", CPU)


def test_the_sentence_names_both_figures() -> None:
    text = Agreement(0.99876, 0.0312, (512, 384)).sentence("bfloat16")
    assert "384 x 512" in text and "99.88 %" in text and "0.031" in text


@pytest.mark.skipif(kept_heap._glibc() is None, reason="the C library is not glibc")
def test_memory_stays_between_runs_and_is_given_back_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    def maps() -> None:
        torch.zeros(48 * 2**18).add_(1)

    # What other programs hold at the moment is not the subject.
    monkeypatch.setattr(kept_heap, "available_bytes", lambda: 8 * 2**30)
    monkeypatch.setattr(devices, "available_bytes", lambda: 8 * 2**30)
    kept_heap.release()
    with kept_heap.kept():
        maps()
    kept = kept_heap.kept_bytes()
    assert kept > 40 * 2**20
    assert devices.free_bytes(CPU) >= 8 * 2**30 + 40 * 2**20  # the next run can have it
    before = resident_bytes()
    kept_heap.release()
    assert resident_bytes() < before - 40 * 2**20


@pytest.mark.skipif(kept_heap._glibc() is None, reason="the C library is not glibc")
def test_others_are_measured_as_if_nothing_were_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_heap, "available_bytes", lambda: 8 * 2**30)
    with kept_heap.kept():
        torch.zeros(256 * 2**18).add_(1)
    full = resident_bytes()
    with kept_heap.as_usual():
        assert resident_bytes() < full - 128 * 2**20


@pytest.mark.skipif(kept_heap._glibc() is None, reason="the C library is not glibc")
def test_what_was_given_back_does_not_count_as_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a large network would have the memory of every smaller one after it given back run by run."""
    monkeypatch.setattr(kept_heap, "available_bytes", lambda: 8 * 2**30)
    with kept_heap.kept():
        large = torch.zeros(256 * 2**18).add_(1)
        behind = torch.zeros(2**18)  # in use, so that what lies before it cannot leave the heap
        del large
    kept_heap.release()
    assert kept_heap.kept_bytes() < 64 * 2**20
    with kept_heap.kept():
        torch.zeros(64 * 2**18).add_(1)
    assert 48 * 2**20 < kept_heap.kept_bytes() < 192 * 2**20
    del behind


@pytest.mark.skipif(kept_heap._glibc() is None, reason="the C library is not glibc")
def test_no_more_is_kept_than_a_share_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_heap, "_MOST_KEPT", 8 * 2**20)
    with kept_heap.kept():
        block = torch.zeros(64 * 2**18).add_(1)
        full = resident_bytes()
        del block
    assert resident_bytes() < full - 48 * 2**20


@needs_bfloat16
def test_the_worker_process_computes_in_bfloat16_and_says_so(qtbot: QtBot, plugins: list[Path]) -> None:
    client = WorkerClient(plugin_files=plugins)
    answers: list[dict[str, Any]] = []
    try:
        image, labels = MappedArray.create((90, 130, 3), np.uint8), MappedArray.create((90, 130), np.uint8)
        image.array[...] = picture()
        for precision in ("float32", "bfloat16"):
            call = client.request(
                "predict",
                model={"model": "tiny/plain", "precision": precision},
                image=image.descriptor(),
                labels=labels.descriptor(),
                key="1",
            )
            call.finished.connect(answers.append)
            with qtbot.waitSignal(call.finished, timeout=60_000):
                pass
        call = client.request("devices")
        call.finished.connect(answers.append)
        with qtbot.waitSignal(call.finished, timeout=60_000):
            pass
    finally:
        client.close()
    exact, lower, told = answers
    assert exact["precision"] == "float32" and exact["agreement"] is None
    assert lower["precision"] == "bfloat16"
    assert 0.8 < lower["agreement"]["same_pixels"] <= 1 and lower["agreement"]["crop"] == [90, 130]
    processor = next(entry for entry in told["devices"] if entry["id"] == "cpu")
    assert processor["bfloat16"] is True and processor["bfloat16_speed"] > 0


@needs_bfloat16
def test_the_command_line_marks_its_masks_and_says_it_once(
    plugins: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture())
    pictures = [str(tmp_path / f"{name}.png") for name in ("a", "b")]
    common = ["--plugin", str(plugins[0]), "predict", "--model", "tiny/plain", "--json", "--device", "cpu"]
    ended = run([*common, "--precision", "bfloat16", "--out", str(tmp_path / "masks"), *pictures])
    document = json.loads(capsys.readouterr().out)
    assert ended == 0
    assert document["precision"] == "bfloat16" and document["agreement"]["crop"] == [90, 130]
    notes = [result["notes"] for result in document["results"]]
    assert len(notes[0]) == 1 and "bfloat16" in notes[0][0] and not notes[1]
