"""Networks that see the picture at another size: scores at its pixels, tiles, plain plugins."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from segstudio.core.errors import UserError
from segstudio.worker.engine import Engine
from segstudio.worker.inference import Network, pad, padded_size
from segstudio.worker.input_scale import resized_map, scaled_size
from segstudio.worker.model_ref import ModelRef
from tests.worker.plugins_for_tests import TINY, write_plugin

LOOKER = '''
"""Classes are the red channel in steps of 32, at the size it is given."""
import numpy as np

from segstudio.plugin_api import ModelSpec, Plugin, Prediction


class Looker:
    num_classes = 8

    def predict(self, image, *, cancel):
        self.seen = image.shape
        labels = image[..., 0] // 32
        return Prediction(labels, np.where(labels == 0, 0.25, 1.0).astype(np.float32))


def build(name, *, num_classes=None, **options):
    return Looker()


PLUGIN = Plugin(
    "looker", "Looker", (ModelSpec("looker/red", "Red", "Looker", build="looker:build", num_classes=8),)
)
'''


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.setenv("SEGSTUDIO_HOME", str(tmp_path / "home"))
    torch.set_num_threads(1)
    return [write_plugin(tmp_path, "tiny", TINY), write_plugin(tmp_path, "looker", LOOKER)]


def picture(height: int, width: int) -> NDArray[np.uint8]:
    generator = torch.Generator().manual_seed(4)
    coarse = torch.rand((1, 3, 2 + height // 16, 2 + width // 16), generator=generator)
    fine = functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    return np.ascontiguousarray((fine[0].permute(1, 2, 0) * 255).byte().numpy())


def read_at(logits: Tensor, padded: tuple[int, int], run: tuple[int, int], shown: tuple[int, int]) -> Tensor:
    """Scores (1, K, h, w) of cells that tile `padded` pixels, at the centres of `shown` pixels over `run`."""
    axes = []
    for axis in range(2):
        place = (np.arange(shown[axis]) + 0.5) * run[axis] / shown[axis] - 0.5
        place = np.clip(place, 0, run[axis] - 1) + 0.5
        axes.append(torch.from_numpy(2 * place / padded[axis] - 1).float())
    grid = torch.stack(torch.meshgrid(axes[0], axes[1], indexing="ij")[::-1], dim=-1)[None]
    return functional.grid_sample(logits, grid, padding_mode="border", align_corners=False)[0]


@pytest.mark.parametrize("scale", [0.5, 0.75, 1.5])
@pytest.mark.parametrize("size", [(64, 96), (61, 47)])
def test_maps_of_the_pictures_size_are_read_off_the_scores_of_the_resized_one(
    plugins: list[Path], scale: float, size: tuple[int, int]
) -> None:
    engine, image = Engine(plugins, device="cpu"), picture(*size)
    result = engine.predict(ModelRef("tiny/plain", scale=scale), image)
    run = scaled_size(*size, scale)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    seen = cv2.resize(image, run[::-1], interpolation=way)
    loaded = engine.load(ModelRef("tiny/plain"))
    padded = padded_size(*run, loaded.spec)
    network = Network(loaded.model, loaded.spec, loaded.preprocess, loaded.device)
    scores = network.scores(pad(seen, padded))
    assert not scores.align_corners
    full = read_at(scores.logits, padded, run, size)
    top = full.topk(2, dim=0).values
    clear = ((top[0] - top[1]) > 1e-4).numpy()
    assert result.label_map.shape == size and clear.mean() > 0.9
    assert (result.label_map == full.argmax(dim=0).numpy())[clear].all()
    assert result.confidence is not None
    assert np.abs(result.confidence - full.softmax(0).amax(0).numpy() * 255).max() <= 0.6
    assert f"Ran at {scale:g} times the picture's size, {run[1]} x {run[0]}" in result.notes


@pytest.mark.parametrize("name", ["tiny/plain", "tiny/corners"])
def test_tiles_of_a_resized_picture_equal_one_pass(plugins: list[Path], name: str) -> None:
    image, ref = picture(300, 500), ModelRef(name, scale=1.5)
    whole = Engine(plugins, device="cpu").predict(ref, image)
    tiled = Engine(plugins, device="cpu", memory=2_000_000).predict(ref, image)
    assert whole.tiles == 1 and tiled.tiles > 1
    assert (whole.label_map == tiled.label_map).mean() >= (0.998 if name == "tiny/plain" else 0.93)


def test_the_pictures_own_size_is_the_same_as_no_scale(plugins: list[Path]) -> None:
    engine, image = Engine(plugins, device="cpu"), picture(61, 47)
    plain, one = (
        engine.predict(ref, image) for ref in (ModelRef("tiny/plain"), ModelRef("tiny/plain", scale=1))
    )
    np.testing.assert_array_equal(plain.label_map, one.label_map)
    assert not any("times" in note for note in one.notes)


def test_a_plain_predictor_sees_the_resized_picture_and_fills_maps_of_the_own_size(
    plugins: list[Path],
) -> None:
    engine = Engine(plugins, device="cpu")
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, 20:] = 255
    result = engine.predict(ModelRef("looker/red", scale=0.5), image)
    assert engine.load(ModelRef("looker/red")).model.seen == (10, 20, 3)
    np.testing.assert_array_equal(result.label_map, image[..., 0] // 32)
    assert result.confidence is not None
    assert set(np.unique(result.confidence[:, :20])) == {64} and (result.confidence[:, 20:] == 255).all()


def test_a_scale_beyond_reason_costs_a_sentence(plugins: list[Path]) -> None:
    with pytest.raises(UserError, match=r"cannot be run at 9 times the picture's size"):
        Engine(plugins, device="cpu").predict(ModelRef("tiny/plain", scale=9), picture(8, 8))


def test_a_map_resized_takes_the_nearest_pixel() -> None:
    small = np.array([[1, 2], [3, 4]], np.uint8)
    np.testing.assert_array_equal(resized_map(small, (4, 4)), np.kron(small, np.ones((2, 2), np.uint8)))
    np.testing.assert_array_equal(resized_map(np.kron(small, np.ones((3, 3), np.uint8)), (2, 2)), small)
