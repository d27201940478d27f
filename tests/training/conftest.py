"""A small data set of coloured shapes and recipes that train on it in a second."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from segstudio.core import new_run, palette_png
from segstudio.core.recipe import Recipe, RunClass
from segstudio.core.run_folder import RunFolder

PLUGIN_FILE = Path(__file__).with_name("tiny_plugin.py")
CLASSES = (
    RunClass("Ground", (60, 60, 60)),
    RunClass("Disc", (220, 60, 40)),
    RunClass("Box", (40, 90, 220)),
)


def draw_sample(seed: int, size: tuple[int, int] = (48, 40)) -> tuple[np.ndarray, np.ndarray]:
    """An image (H, W, 3) of a disc and a box on noise, and its labels with an ignored strip."""
    rng = np.random.default_rng(seed)
    width, height = size
    labels = np.zeros((height, width), np.uint8)
    cv2.circle(labels, (int(rng.integers(8, width - 8)), int(rng.integers(8, height - 8))), 7, 1, -1)
    x, y = int(rng.integers(0, width - 14)), int(rng.integers(0, height - 12))
    labels[y : y + 12, x : x + 14] = 2
    colors = np.array([entry.color for entry in CLASSES], np.float32)
    image = colors[labels] + rng.normal(0, 12, (height, width, 3))
    labels[: 1 + seed % 4] = 255
    return np.clip(image, 0, 255).astype(np.uint8), labels


@pytest.fixture(scope="session")
def shapes(tmp_path_factory) -> Path:
    """A folder with images/ and labels/: eight pictures."""
    folder = tmp_path_factory.mktemp("shapes")
    for part in ("images", "labels"):
        (folder / part).mkdir()
    for seed in range(8):
        image, labels = draw_sample(seed)
        cv2.imwrite(str(folder / "images" / f"{seed}.png"), image[:, :, ::-1])
        palette_png.write(folder / "labels" / f"{seed}.png", labels)
    return folder


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(
        model="tiny_plugin/tinynet",
        classes=CLASSES,
        plugin_files=(str(PLUGIN_FILE),),
        epochs=3,
        batch=2,
        crop=(32, 32),
        scale=(0.7, 1.5),
        lr=0.05,
        device="cpu",
        threads=1,
        workers=2,
        previews=2,
        seed=11,
    )


@pytest.fixture
def make_run(tmp_path, shapes):
    def make(recipe: Recipe, name: str = "run", **changes) -> RunFolder:
        pairs = new_run.pairs_in_folders(shapes / "images", shapes / "labels", "train")
        pairs = new_run.split_pairs(pairs, 0.25)
        return new_run.create_from_pairs(tmp_path / name, replace(recipe, **changes), pairs)

    return make
