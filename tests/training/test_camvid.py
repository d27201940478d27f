"""Real street pictures: a small network visibly learns in minutes on a processor."""

import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from segstudio.core import new_run, palette_png
from segstudio.core.recipe import Recipe, RunClass
from segstudio.core.taxonomies import default_palette
from segstudio.training import program
from tests.shared_data import needs_shared, shared

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600), needs_shared]


VOC_WEIGHTS = Path("data", "weights", "deeplabv3_mobilenetv2_voc", "deeplabv3_mobilenetv2_voc.pth")


def camvid_pairs(split: str, count: int) -> list[new_run.Pair]:
    """Every n-th pair of a split, `count` in all."""
    root = shared("data", "camvid")
    lines = [line.split() for line in (root / f"{split}.txt").read_text().splitlines() if line.strip()]
    chosen = [lines[index] for index in np.linspace(0, len(lines) - 1, count).round().astype(int)]
    return [new_run.Pair(_found(root, image), _found(root, label), split) for image, label in chosen]


def _found(root: Path, name: str) -> Path:
    for candidate in (root / name, root / Path(*Path(name).parts[-2:])):
        if candidate.exists():
            return candidate
    raise FileNotFoundError(name)


def test_a_small_network_learns_streets_in_minutes(tmp_path, record_property):
    names = [line.strip() for line in shared("data", "camvid", "classes.txt").read_text().splitlines()][:11]
    recipe = Recipe(
        model="segstudio_zoo/deeplabv3_mobilenet-v2-d16",
        weights=str(shared(*VOC_WEIGHTS.parts)),
        classes=tuple(RunClass(n, c) for n, c in zip(names, default_palette(11), strict=True)),
        epochs=5,
        steps_per_epoch=20,
        batch=4,
        crop=(320, 256),
        scale=(0.75, 1.5),
        optimizer="adamw",
        lr=0.0005,
        weight_decay=0.01,
        warmup_steps=10,
        device="cpu",
        threads=1,
        workers=1,
        previews=3,
    )
    pairs = camvid_pairs("train", 120) + camvid_pairs("val", 16)
    run = new_run.create_from_pairs(tmp_path / "run", recipe, pairs, ignored=[11])
    labels, _ = palette_png.read(run.resolve(run.samples()[0].label))
    assert set(np.unique(labels)) <= {*range(11), 255}
    began = time.monotonic()
    assert program.train(run) == "done"
    epochs = [event for event in run.events()[0] if event["kind"] == "epoch"]
    record_property("seconds", round(time.monotonic() - began))
    for epoch in epochs:
        print(epoch["epoch"], round(epoch["train_loss"], 3), round(epoch["miou"], 4))
    assert epochs[-1]["train_loss"] < 0.7 * epochs[0]["train_loss"]
    assert epochs[-1]["miou"] > 0.3 and epochs[-1]["miou"] > 1.2 * epochs[0]["miou"]
    shutil.rmtree(run.path)
