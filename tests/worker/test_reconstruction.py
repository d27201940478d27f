"""What a network of pre-training makes of a picture, asked of a real worker process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from pytestqt.qtbot import QtBot

from segstudio.core.crops import centre_crop
from segstudio.core.errors import UserError
from segstudio.core.weights_facts import WeightsFacts
from segstudio.ipc import MappedArray
from segstudio.plugin_api import Preprocess
from segstudio.registry import Registry
from segstudio.runtime.worker_client import WorkerClient
from segstudio.training.checkpoints import save_weights
from tests.training.conftest import PLUGIN_FILE, draw_sample
from tests.worker.plugins_for_tests import write_plugin
from tests.worker.test_worker_client import SECONDS, end_of

SIZE = (24, 32)  # height and width, in cells of 4 pixels: 6 rows of 8
PREPROCESS = Preprocess((128.0, 128.0, 128.0), (64.0, 64.0, 64.0))

UNRULY = '''
"""A way of pre-training that misbehaves as its masking says."""
import ctypes

import torch

from segstudio.plugin_api import Option, Pictures, Plugin, PretrainingSpec


class Unruly(torch.nn.Module):
    image_size, cell = (8, 8), 4

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def losses(self, image):
        raise NotImplementedError

    def pictures(self, image, hidden=None, *, ratio=None, masking=None, seed=0):
        if masking == "segfault":
            ctypes.string_at(0)
        if masking == "raise":
            raise KeyError("no such masking")
        if masking == "nothing":
            return Pictures({"plain": image})
        error = torch.full((1, 2, 2), torch.nan)
        return Pictures({"plain": image}, torch.ones(1, 2, 2, dtype=torch.bool), error)

    def param_groups(self, lr):
        return [{"params": [self.weight], "lr": lr}]

    def advance(self, fraction):
        pass


def build(name, *, image_size):
    return Unruly()


PLUGIN = Plugin("unruly", "Unruly", (), pretraining=(
    PretrainingSpec("unruly/net", "Unruly net", build="unruly:build",
                    options=(Option("image_size", "ints", (8, 8)),)),
))
'''


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "best.safetensors"
    options = {"image_size": SIZE, "width": 6, "start": "/gone/long-ago.safetensors"}
    facts = WeightsFacts("tiny_plugin/tinyfill", "TinyFill", options=options, preprocess=PREPROCESS)
    save_weights(path, tiny(), facts)
    return path


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), draw_sample(3, (100, 60))[0][:, :, ::-1])
    return path


@pytest.fixture
def worker(qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerClient]:
    monkeypatch.setenv("SEGSTUDIO_HOME", str(tmp_path / "home"))
    client = WorkerClient(plugin_files=[PLUGIN_FILE, write_plugin(tmp_path, "unruly", UNRULY)])
    yield client
    client.close()


def tiny() -> Any:
    registry = Registry([PLUGIN_FILE])
    plugin, spec = registry.find_pretraining("tinyfill")
    return registry.resolve(plugin, spec.build)(spec.name, image_size=SIZE, width=6)


class Asking:
    """Reconstructions into one scratch array, which grows where the worker says so."""

    def __init__(
        self, qtbot: QtBot, client: WorkerClient, weights: Path, name: str = "tiny_plugin/tinyfill"
    ) -> None:
        self._qtbot, self._client = qtbot, client
        self._model = {"pretraining": name, "weights": str(weights), "options": {}}
        self.out = MappedArray.create((16,), np.uint8)
        self.needs = 0

    def __call__(self, image: Any, **arguments: Any) -> Any:
        """The op's result with its pictures (V, H, W, 3) under "pictures", or its UserError."""
        while True:
            call = self._client.request(
                "reconstruct",
                **{"model": self._model, "image": image, "page": 0, "hidden": None, "seed": 0, **arguments},
                out=self.out.descriptor(),
            )
            values = end_of(self._qtbot, call)
            if isinstance(values, UserError) or "need" not in values:
                break
            self.needs += 1
            self.out = MappedArray.create((values["need"],), np.uint8)
        if isinstance(values, dict):
            size = int(np.prod(values["shape"]))
            values["pictures"] = self.out.array[:size].reshape(values["shape"]).copy()
        return values


def test_a_worker_gives_the_pictures_their_mask_and_its_errors(
    qtbot: QtBot, worker: WorkerClient, weights: Path, picture: Path
) -> None:
    ask = Asking(qtbot, worker, weights)
    found = ask(str(picture), ratio=0.6, masking="random", seed=5)
    assert ask.needs == 1
    assert found["views"] == ["original", "masked", "reconstruction"]
    assert found["shape"] == [3, *SIZE, 3] and found["cell"] == 4 and found["notes"] == ["a tiny net"]
    image = cv2.imread(str(picture))[:, :, ::-1]
    crop = centre_crop(image, (SIZE[1], SIZE[0]))
    assert np.array_equal(found["pictures"][0], crop)
    # The same as the network gives by itself, cell by cell and pixel by pixel.
    values = (torch.from_numpy(crop.astype(np.float32)).permute(2, 0, 1)[None] - 128) / 64
    with torch.no_grad():
        alone = tiny().pictures(values, ratio=0.6, masking="random", seed=5)
    assert found["hidden"] == alone.hidden[0].argwhere().tolist()
    assert found["error"] == pytest.approx(np.asarray(alone.error[0]), abs=1e-5)
    assert found["mean_error"] == pytest.approx(float(alone.error[alone.hidden].mean()), abs=1e-5)
    made = (alone.views["reconstruction"][0].permute(1, 2, 0).numpy() * 64 + 128).clip(0, 255)
    assert np.abs(found["pictures"][2] - made).max() <= 0.51
    assert found["ms"] > 0


def test_chosen_cells_are_hidden_and_no_others(
    qtbot: QtBot, worker: WorkerClient, weights: Path, picture: Path
) -> None:
    ask = Asking(qtbot, worker, weights)
    cells = [[0, 0], [2, 5], [5, 7]]
    found = ask(str(picture), hidden=cells)
    assert found["hidden"] == cells
    original, masked = found["pictures"][:2].astype(int)
    changed = (original != masked).any(-1).reshape(6, 4, 8, 4).any((1, 3))
    assert np.argwhere(changed).tolist() == cells
    assert np.argwhere(np.asarray(found["error"]) > 0).tolist() == cells
    assert ask(str(picture), hidden=[])["hidden"] == []
    # The same picture as pixels instead of a file.
    image = cv2.imread(str(picture))[:, :, ::-1]
    pixels = MappedArray.create(image.shape, np.uint8)
    pixels.array[...] = image
    again = ask(pixels.descriptor(), hidden=cells)
    assert np.array_equal(again["pictures"], found["pictures"])
    error = ask(str(picture), hidden=[[6, 0]])
    assert isinstance(error, UserError) and "no cell (6, 0) in 6 rows of 8" in str(error)


def test_seeds_draw_masks_again_and_ratios_hide_more(
    qtbot: QtBot, worker: WorkerClient, weights: Path, picture: Path
) -> None:
    ask = Asking(qtbot, worker, weights)
    first, second, same = (ask(str(picture), ratio=0.5, seed=seed)["hidden"] for seed in (1, 2, 1))
    assert first == same != second
    few, many = (len(ask(str(picture), ratio=ratio)["hidden"]) for ratio in (0.1, 0.95))
    assert few < 12 < 40 < many
    assert len(ask(str(picture), masking="grid")["hidden"]) == 24


def test_files_that_do_not_fit_are_refused_with_a_sentence(
    qtbot: QtBot, worker: WorkerClient, weights: Path, picture: Path, tmp_path: Path
) -> None:
    gone = Asking(qtbot, worker, tmp_path / "gone.safetensors")(str(picture))
    assert isinstance(gone, UserError) and "no file of weights" in str(gone)
    other = Asking(qtbot, worker, weights, "unruly/net")(str(picture))
    assert isinstance(other, UserError) and "holds weights of tiny_plugin/tinyfill" in str(other)
    wide = tmp_path / "wide.safetensors"
    options = {"image_size": SIZE, "width": 12}
    save_weights(wide, tiny(), WeightsFacts("tiny_plugin/tinyfill", "Wide", options=options))
    misfit = Asking(qtbot, worker, wide)(str(picture))
    assert isinstance(misfit, UserError) and "does not fit TinyFill" in str(misfit)
    blank = Asking(qtbot, worker, weights)(str(tmp_path / "no-picture.png"))
    assert isinstance(blank, UserError) and "\n" not in str(blank)


def test_a_network_that_crashes_costs_its_own_request_only(
    qtbot: QtBot, worker: WorkerClient, weights: Path, picture: Path, tmp_path: Path
) -> None:
    path = tmp_path / "unruly.safetensors"
    module = torch.nn.Module()
    module.register_parameter("weight", torch.nn.Parameter(torch.zeros(1)))
    save_weights(path, module, WeightsFacts("unruly/net", "Unruly net"))
    unruly = Asking(qtbot, worker, path, "unruly/net")
    raised = unruly(str(picture), masking="raise")
    assert isinstance(raised, UserError) and "Unruly net failed (KeyError" in str(raised)
    crashes: list[str] = []
    worker.crashed.connect(crashes.append)
    assert isinstance(unruly(str(picture), masking="segfault"), UserError)
    assert crashes
    # Errors that are no numbers are no values of JSON either.
    strange = unruly(str(picture), masking="nan")
    assert strange["error"] == [[None, None], [None, None]] and strange["mean_error"] is None
    plain = unruly(str(picture), masking="nothing")
    assert (plain["hidden"], plain["error"], plain["views"]) == (None, None, ["original", "plain"])
    assert np.array_equal(plain["pictures"][0], plain["pictures"][1])
    assert len(Asking(qtbot, worker, weights)(str(picture), masking="grid")["hidden"]) == 24


def test_a_cancelled_request_ends_and_the_next_is_answered(
    qtbot: QtBot, worker: WorkerClient, weights: Path, picture: Path
) -> None:
    ask = Asking(qtbot, worker, weights)
    ask(str(picture))
    model = {"pretraining": "tiny_plugin/tinyfill", "weights": str(weights), "options": {}}
    calls = [
        worker.request("reconstruct", model=model, image=str(picture), seed=seed, out=ask.out.descriptor())
        for seed in range(3)
    ]
    ends: dict[int, Any] = {}
    for index, call in enumerate(calls):
        call.finished.connect(lambda values, index=index: ends.update({index: values}))
        call.failed.connect(lambda error, index=index: ends.update({index: error}))
        call.cancelled.connect(lambda index=index: ends.update({index: None}))
    calls[1].cancel()
    qtbot.waitUntil(lambda: len(ends) == 3, timeout=SECONDS)
    assert ends[1] is None
    assert all(ends[index]["views"][0] == "original" for index in (0, 2))
    assert ask(str(picture), masking="grid")["views"] == ["original", "masked", "reconstruction"]
